/**
 * What a living person's blood can hold, by analyte and unit: wider than any disease, so that what lies outside was read
 * wrongly (a lost decimal point makes it ten times as much). Orders of magnitude, no reference ranges: nothing here is
 * meant to judge a patient.
 */
type Limits = { readonly [unit: string]: readonly [least: number, most: number] }

const LIMITS: readonly { names: readonly string[]; limits: Limits }[] = [
  {
    names: ['hemoglobin', 'haemoglobin', 'hgb', 'hb'],
    limits: { 'g/dl': [2, 27], 'g/l': [20, 270], 'mmol/l': [1.2, 17] },
  },
  { names: ['hba1c', 'a1c'], limits: { '%': [3, 20], 'mmol/mol': [9, 200] } },
  {
    names: ['glucose', 'fasting glucose', 'blood glucose', 'random glucose', 'plasma glucose', 'fasting blood glucose'],
    limits: { 'mmol/l': [0.3, 100], 'mg/dl': [5, 1_800] },
  },
  { names: ['creatinine', 'serum creatinine'], limits: { 'mg/dl': [0.1, 40], 'umol/l': [9, 3_500] } },
  { names: ['sodium', 'serum sodium'], limits: { 'mmol/l': [90, 210], 'meq/l': [90, 210] } },
  { names: ['potassium', 'serum potassium'], limits: { 'mmol/l': [1, 15], 'meq/l': [1, 15] } },
  { names: ['chloride'], limits: { 'mmol/l': [50, 170], 'meq/l': [50, 170] } },
  { names: ['calcium', 'corrected calcium'], limits: { 'mg/dl': [3, 25], 'mmol/l': [0.7, 6.3] } },
  { names: ['albumin'], limits: { 'g/dl': [0.5, 8], 'g/l': [5, 80] } },
  {
    names: ['cholesterol', 'total cholesterol', 'ldl', 'ldl cholesterol', 'ldl-c', 'hdl', 'hdl cholesterol', 'hdl-c'],
    limits: { 'mg/dl': [1, 1_500], 'mmol/l': [0.03, 39] },
  },
  { names: ['tsh'], limits: { 'miu/l': [0, 500], 'uiu/ml': [0, 500], 'mu/l': [0, 500] } },
  { names: ['platelets', 'platelet count', 'plt'], limits: { '10^9/l': [1, 5_000], 'k/ul': [1, 5_000] } },
  { names: ['hematocrit', 'haematocrit', 'hct'], limits: { '%': [5, 80] } },
  { names: ['inr'], limits: { ratio: [0.5, 30] } },
]

const plain = (text: string): string => text.toLowerCase().replaceAll('µ', 'u').replace(/\s+/g, ' ').trim()
const byName = new Map(LIMITS.flatMap(({ names, limits }) => names.map((name) => [name, limits] as const)))

/** Null where this analyte in this unit is not known: then nothing is said about it. */
export const limitsOf = (name: string, unit: string | null): readonly [number, number] | null =>
  unit === null ? null : (byName.get(plain(name))?.[plain(unit)] ?? null)
