/**
 * One invented referral: what a document says, before anybody lays it out. Drawn from a seed, so a case can be drawn
 * again. All people are made of lists of names; no one is meant.
 */
import { seeded } from '../raster.js'

export type Drug = { drug: string; dose: string; unit: string; every: [written: string, meant: string] }
export type Lab = { name: string; value: string; unit: string; range: string }
export type Case = {
  given: string
  family: string
  born: Date
  id: string
  phone: string
  doctor: string
  referred: Date
  department: string
  urgency: ['routine' | 'urgent' | 'emergency', string]
  reason: string
  diagnosis: string
  codes: string[]
  drugs: Drug[]
  labs: Lab[]
  pick: <T>(list: readonly T[]) => T
  chance: (share: number) => boolean
}

const GIVEN =
  'Aaliyah Benedikt Chiara Dmitri Esperanza Fiona Gustavo Hannah Ibrahim Joanna Kenji Leticia Marcus Nadia Oscar Priya Quentin Rosalind Stefan Tamara Ursula Vincent Wendy Yusuf Zoe Elliot Camille Douglas'.split(
    ' ',
  )
const FAMILY =
  "Abernathy Brandt Castillo Delacroix Eriksen Fairbanks Gallagher Huang Iverson Jankowski Kowalczyk Lindqvist Moreau Nakamura O'Sullivan Pemberton Quigley Rosenthal Schneider Takahashi Underwood Villanueva Whitaker Yilmaz Zimmerman Adeyemi Blackwood Forsythe".split(
    ' ',
  )
const CONDITIONS: readonly (readonly [string, string, string, string])[] = [
  ['Cardiology', 'Palpitations and shortness of breath on climbing stairs', 'Paroxysmal atrial fibrillation', 'I48.0'],
  ['Dermatology', 'Changing pigmented lesion on the left forearm', 'Suspected malignant melanoma', 'C43.6'],
  ['Rheumatology', 'Symmetrical joint swelling with morning stiffness', 'Rheumatoid arthritis', 'M06.9'],
  ['Pulmonology', 'Chronic cough and wheeze despite inhaled therapy', 'Moderate persistent asthma', 'J45.40'],
  ['Nephrology', 'Declining kidney function and protein in the urine', 'Chronic kidney disease stage 3', 'N18.3'],
  ['Neurology', 'Recurrent severe headache with visual disturbance', 'Migraine with aura', 'G43.109'],
  ['Endocrinology', 'Weight gain, fatigue and cold intolerance', 'Primary hypothyroidism', 'E03.9'],
  ['Gastroenterology', 'Rectal bleeding and a change in bowel habit', 'Ulcerative colitis', 'K51.90'],
  ['Hematology', 'Persistent fatigue with easy bruising', 'Iron deficiency anemia', 'D50.9'],
  ['Urology', 'Recurrent urinary infections and hesitancy', 'Benign prostatic hyperplasia', 'N40.1'],
  ['Ophthalmology', 'Gradual loss of vision in the right eye', 'Age related cataract', 'H25.9'],
  ['Orthopedics', 'Left knee pain limiting walking to two blocks', 'Osteoarthritis of the knee', 'M17.12'],
]
const EXTRA_CODES = ['E78.5', 'I10', 'Z79.4', 'F41.1', 'K21.9', 'M54.5', 'R53.83']
const DRUGS: readonly (readonly [string, string, string])[] = [
  ['Lisinopril', '10', 'mg'],
  ['Bisoprolol', '2.5', 'mg'],
  ['Simvastatin', '40', 'mg'],
  ['Pantoprazole', '20', 'mg'],
  ['Levothyroxine', '75', 'mcg'],
  ['Furosemide', '40', 'mg'],
  ['Citalopram', '20', 'mg'],
  ['Warfarin', '3', 'mg'],
  ['Prednisolone', '5', 'mg'],
  ['Gabapentin', '300', 'mg'],
  ['Losartan', '50', 'mg'],
  ['Montelukast', '10', 'mg'],
  ['Methotrexate', '15', 'mg'],
  ['Empagliflozin', '25', 'mg'],
  ['Apixaban', '5', 'mg'],
  ['Ibuprofen', '400', 'mg'],
]
const EVERY: readonly [string, string][] = [
  ['once daily', 'once daily'],
  ['twice daily', 'twice daily'],
  ['three times a day', 'three times daily'],
  ['BID', 'twice daily'],
  ['daily', 'once daily'],
  ['at bedtime', 'at night'],
  ['as needed', 'as needed'],
  ['every 8 hours', 'every 8 hours'],
  ['OD', 'once daily'],
]
const LABS: readonly (readonly [string, number, number, number, string])[] = [
  ['Hemoglobin', 9, 17, 1, 'g/dL'],
  ['WBC', 3, 14, 1, '10^9/L'],
  ['Platelets', 120, 450, 0, '10^9/L'],
  ['Sodium', 128, 148, 0, 'mmol/L'],
  ['Potassium', 3, 6, 1, 'mmol/L'],
  ['Creatinine', 0.6, 2.4, 1, 'mg/dL'],
  ['eGFR', 28, 95, 0, 'mL/min'],
  ['Glucose', 70, 240, 0, 'mg/dL'],
  ['HbA1c', 5, 11, 1, '%'],
  ['TSH', 0.3, 9, 1, 'mIU/L'],
  ['Ferritin', 6, 380, 0, 'ng/mL'],
  ['CRP', 1, 60, 1, 'mg/L'],
  ['ALT', 8, 120, 0, 'U/L'],
  ['Total cholesterol', 140, 290, 0, 'mg/dL'],
  ['Albumin', 2.8, 5, 1, 'g/dL'],
  ['Calcium', 8, 11, 1, 'mg/dL'],
]
const RANGES: { [name: string]: string } = {
  Hemoglobin: '12.0-16.0',
  WBC: '4.0-11.0',
  Platelets: '150-400',
  Sodium: '135-145',
  Potassium: '3.5-5.0',
  Creatinine: '0.6-1.2',
  eGFR: '>60',
  Glucose: '70-99',
  HbA1c: '4.0-5.6',
  TSH: '0.4-4.5',
  Ferritin: '15-200',
  CRP: '<5',
  ALT: '7-55',
  'Total cholesterol': '<200',
  Albumin: '3.5-5.0',
  Calcium: '8.6-10.3',
}
const URGENCY: readonly ['routine' | 'urgent' | 'emergency', string][] = [
  ['routine', 'Routine'],
  ['urgent', 'Urgent'],
  ['emergency', 'Emergency'],
  ['routine', 'Non-urgent'],
  ['urgent', 'URGENT'],
]

export function drawCase(seed: number): Case {
  const random = seeded(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const several = <T>(list: readonly T[], count: number): T[] => {
    const rest = [...list]
    return Array.from({ length: count }, () => rest.splice(Math.floor(random() * rest.length), 1)[0]!)
  }
  const digits = (count: number): string => Array.from({ length: count }, () => Math.floor(random() * 10)).join('')
  const [department, reason, diagnosis, code] = pick(CONDITIONS)
  return {
    given: pick(GIVEN),
    family: pick(FAMILY),
    born: new Date(
      Date.UTC(1932 + Math.floor(random() * 70), Math.floor(random() * 12), 1 + Math.floor(random() * 28)),
    ),
    id: pick([
      () => `1${digits(7)}`,
      () => `H${digits(6)}`,
      () => `${digits(4)}-${digits(3)}`,
      () => `PX-${digits(5)}`,
    ])(),
    phone: pick([
      () => `(4${digits(2)}) 555-0${digits(3)}`,
      () => `555-7${digits(2)}-${digits(4)}`,
      () => `+1 503 555 0${digits(3)}`,
    ])(),
    doctor: `${pick(GIVEN)} ${pick(FAMILY)}`,
    referred: new Date(
      Date.UTC(2022 + Math.floor(random() * 3), Math.floor(random() * 12), 1 + Math.floor(random() * 28)),
    ),
    department,
    urgency: pick(URGENCY),
    reason,
    diagnosis,
    codes: [code, ...several(EXTRA_CODES, Math.floor(random() * 2))],
    drugs: several(DRUGS, 2 + Math.floor(random() * 3)).map(([drug, dose, unit]) => ({
      drug,
      dose,
      unit,
      every: pick(EVERY),
    })),
    labs: several(LABS, 3 + Math.floor(random() * 4)).map(([name, low, high, decimals, unit]) => ({
      name,
      value: (low + random() * (high - low)).toFixed(decimals),
      unit,
      range: RANGES[name]!,
    })),
    pick,
    chance: (share) => random() < share,
  }
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const two = (value: number): string => String(value).padStart(2, '0')

export const iso = (date: Date): string => date.toISOString().slice(0, 10)
export const american = (date: Date): string =>
  `${two(date.getUTCMonth() + 1)}/${two(date.getUTCDate())}/${date.getUTCFullYear()}`
export const dotted = (date: Date): string =>
  `${two(date.getUTCDate())}.${two(date.getUTCMonth() + 1)}.${date.getUTCFullYear()}`
export const written = (date: Date): string =>
  `${MONTHS[date.getUTCMonth()]} ${date.getUTCDate()}, ${date.getUTCFullYear()}`
export const short = (date: Date): string =>
  `${two(date.getUTCDate())}-${MONTHS[date.getUTCMonth()]!.slice(0, 3)}-${date.getUTCFullYear()}`
