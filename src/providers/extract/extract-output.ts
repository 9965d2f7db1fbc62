/**
 * What extraction gives: the fields of a clinical referral, each with where it stands and how sure the reading
 * engine was of its weakest word. Pure data and zod, so that a config may import it.
 *
 * 1. `raw` is what stands on the page; `value` is the same, brought into one form (dates ISO, names without titles).
 * 2. A field that isn't on the page isn't in the list; nothing is guessed. A blank page gives an empty list.
 * 3. ICD-10 codes, medications and lab values may appear more than once, every other field at most once.
 */
import { z } from 'zod'
import { Box, PAGES_MAX, ReadPage } from '../ocr/read-output.js'
import { TEXT_CHARACTERS_MAX } from './text-page.js'

const TEXT_FIELDS = [
  'patientName',
  'dateOfBirth',
  'patientId',
  'phone',
  'referringPhysician',
  'referralDate',
  'department',
  'urgency',
  'reason',
  'diagnosis',
  'icd10',
] as const
export const FIELD_NAMES = [...TEXT_FIELDS, 'medication', 'labValue'] as const
export type FieldName = (typeof FIELD_NAMES)[number]
export type TextFieldName = (typeof TEXT_FIELDS)[number]

/** Bounds the answer; a page of dense lab results has about 60. */
export const FIELDS_MAX = 500

const Place = {
  raw: z.string(),
  /** 0..1: of the least sure word of the value; lower where a misread letter was put right. */
  confidence: z.number().min(0).max(1),
  page: z.int().min(1),
  box: Box,
}

export const Medication = z.object({
  drug: z.string(),
  dose: z.string(),
  unit: z.string(),
  /** In words ("twice daily"); null where none is given. */
  frequency: z.string().nullable(),
})
export type Medication = z.infer<typeof Medication>

export const LabValue = z.object({
  name: z.string(),
  value: z.string(),
  unit: z.string().nullable(),
  /** "12.0-16.0", "<130"; null where none is given. */
  referenceRange: z.string().nullable(),
})
export type LabValue = z.infer<typeof LabValue>

export const TextField = z.object({ name: z.enum(TEXT_FIELDS), value: z.string().min(1), ...Place })
export const MedicationField = z.object({ name: z.literal('medication'), value: Medication, ...Place })
export const LabField = z.object({ name: z.literal('labValue'), value: LabValue, ...Place })
export const Field = z.discriminatedUnion('name', [TextField, MedicationField, LabField])
export type Field = z.infer<typeof Field>

export const ExtractOutput = z.object({ fields: z.array(Field).max(FIELDS_MAX) })
export type ExtractOutput = z.infer<typeof ExtractOutput>

/** What the step's `request` has to build, or the JSON input has to be: pages that were read, or text that was typed. */
export const ExtractRequest = z.object({ pages: z.array(ReadPage).max(PAGES_MAX) })
export const ExtractText = z.object({ text: z.string().max(TEXT_CHARACTERS_MAX) })
export type ExtractRequest = z.infer<typeof ExtractRequest>
