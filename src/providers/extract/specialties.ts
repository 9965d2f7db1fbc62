/** Departments a patient is referred to: known specialties by any of their names, else the words as they stand. */
import { isNear } from './labels.js'
import { strip, within, type Token } from './layout.js'

/** Stem -> name. The stem stands at the start of a word: "cardiolog" is in cardiology, cardiologist, cardiological. */
const SPECIALTIES: readonly [RegExp, string][] = [
  [/\b(?:cardio-?thoracic|heart surg)\w*/i, 'Cardiothoracic Surgery'],
  [/\bvascular(?: surg\w*)?/i, 'Vascular Surgery'],
  [/\bneuro-?surg\w*/i, 'Neurosurgery'],
  [/\borthop(?:a)?edic\w*(?: surg\w*)?|\borthop(?:a)?edics/i, 'Orthopedics'],
  [/\bplastic surg\w*/i, 'Plastic Surgery'],
  [/\bgeneral surg\w*/i, 'General Surgery'],
  [/\bobstetric\w*|\bgyn(?:a)?ecolog\w*|\bob\/?gyn/i, 'Gynecology'],
  [/\bcardiolog\w*/i, 'Cardiology'],
  [/\bneurolog\w*/i, 'Neurology'],
  [/\bendocrin\w*/i, 'Endocrinology'],
  [/\bgastro-?ent\w*|\bGI clinic/i, 'Gastroenterology'],
  [/\bhepatolog\w*/i, 'Hepatology'],
  [/\bdermatolog\w*/i, 'Dermatology'],
  [/\bnephrolog\w*|\brenal (?:medicine|clinic|unit)/i, 'Nephrology'],
  [/\burolog\w*/i, 'Urology'],
  [/\boncolog\w*/i, 'Oncology'],
  [/\bh(?:a)?ematolog\w*/i, 'Hematology'],
  [/\brheumatolog\w*/i, 'Rheumatology'],
  [/\bpulmon\w*|\brespiratory(?: medicine)?|\bpneumolog\w*/i, 'Pulmonology'],
  [/\bophthalm\w*|\beye clinic/i, 'Ophthalmology'],
  [/\botolaryng\w*|\bENT\b|\bear,? nose/i, 'Otolaryngology'],
  [/\bpsychiatr\w*|\bmental health/i, 'Psychiatry'],
  [/\bp(?:a)?ediatr\w*/i, 'Pediatrics'],
  [/\bgeriatr\w*|\belderly care/i, 'Geriatrics'],
  [/\bradiolog\w*/i, 'Radiology'],
  [/\binfectious diseases?/i, 'Infectious Diseases'],
  [/\ballerg\w*(?: (?:and|&) immunolog\w*)|\bimmunolog\w*/i, 'Immunology'],
  [/\bphysio-?therap\w*|\bphysical therap\w*/i, 'Physiotherapy'],
  [/\bpain (?:medicine|clinic|management)/i, 'Pain Medicine'],
  [/\bsleep (?:medicine|clinic)/i, 'Sleep Medicine'],
  [/\binternal medicine/i, 'Internal Medicine'],
]
const LONG_NAMES = SPECIALTIES.map(([, name]) => name).filter((name) => name.length >= 8)

export type FoundDepartment = { value: string; tokens: Token[] }

/** `knownOnly`: in running text a department must be a known one. */
export function departmentIn(tokens: readonly Token[], knownOnly = false): FoundDepartment | null {
  const text = strip(tokens)
  let first: { at: number; to: number; value: string } | null = null
  for (const [pattern, value] of SPECIALTIES) {
    const match = pattern.exec(text.text)
    if (match && (first === null || match.index < first.at))
      first = { at: match.index, to: match.index + match[0].length, value }
  }
  if (first) return { value: first.value, tokens: within(text, first.at, first.to) }
  for (const token of tokens) {
    const word = token.text.replace(/[^\p{L}]/gu, '')
    const near = LONG_NAMES.find((name) => isNear(name.toLowerCase(), word.toLowerCase(), 1))
    if (near) return { value: near, tokens: [token] }
  }
  if (knownOnly || tokens.length > 5 || !/^\p{Lu}/u.test(text.text) || /\d/.test(text.text)) return null
  // "Dr. Smith" is whom the letter goes to, no department.
  if (/^(?:dr|prof|mr|mrs|ms|whom)\b/i.test(text.text)) return null
  const value = text.text.replace(/^(?:the )?(?:department|dept\.?|division|clinic) of /i, '').replace(/[\s,.;:]+$/, '')
  return value.length < 3 ? null : { value, tokens: [...tokens] }
}
