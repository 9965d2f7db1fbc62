/**
 * Medications: a drug, its dose and how often. Rows of a list or table, and sentences of a letter.
 *
 * A dose alone proves nothing (lab values have units too): outside a medication list either the drug's name must
 * look like one, or a frequency must follow.
 */
import type { Medication } from './extract-output.js'
import { strip, within, type Token } from './layout.js'

export type FoundMedication = { value: Medication; tokens: Token[] }

const UNIT =
  'mg|mcg|µg|ug|micrograms?|milligrams?|grams?|g|ml|iu|units?|u|mmol|meq|puffs?|drops?|sprays?|tablets?|tabs?|capsules?|%'
const DOSE = new RegExp(`(?<![\\w./])(\\d+(?:[.,]\\d+)?(?:\\s?/\\s?\\d+(?:[.,]\\d+)?)?)\\s?(${UNIT})(?![\\w/])`, 'gi')
const FORM =
  /^[\s,;.(]*(?:(?:film[- ]coated|modified release|extended release|slow release|mr|er|xl|sr|xr|tablets?|tabs?|capsules?|caps?|inhalers?|injections?|oral|orally|per os|by mouth|po|p\.o\.|sc|s\.c\.|subcutaneous(?:ly)?|im|iv|inhaled|topical(?:ly)?|nasal|patch(?:es)?|cream|solution|spray|taken|take|to be taken|given)\b\.?[\s,;.)]*){0,3}/i

/** From the most to the least particular, each with what it means in words. */
const FREQUENCIES: readonly [RegExp, string | null][] = [
  [/^every (?:other|second) day|^alternate days|^on alternate days/i, 'every other day'],
  [/^(?:every|each)\s(\d{1,2})\s?(?:hours|hrs|hourly|h)\b/i, 'every $1 hours'],
  [/^(\d{1,2})[- ]hourly\b/i, 'every $1 hours'],
  [/^q\.?(\d{1,2})\.?h\b\.?/i, 'every $1 hours'],
  [
    /^(?:four times (?:daily|a day|per day|each day)|4 ?(?:x|times) ?(?:daily|a day|per day|\/ ?day)|q\.?i\.?d\b\.?|q\.?d\.?s\b\.?)/i,
    'four times daily',
  ],
  [
    /^(?:(?:three times|thrice) (?:daily|a day|per day|each day)|thrice daily|3 ?(?:x|times) ?(?:daily|a day|per day|\/ ?day)|t\.?i\.?d\b\.?|t\.?d\.?s\b\.?)/i,
    'three times daily',
  ],
  [
    /^(?:twice (?:daily|a day|per day|each day)|two times (?:daily|a day)|2 ?(?:x|times) ?(?:daily|a day|per day|\/ ?day)|b\.?i\.?d\b\.?|b\.?d\b\.?|morning and (?:evening|night))/i,
    'twice daily',
  ],
  [/^(?:(?:once|one time) (?:weekly|a week|per week|every week)|weekly|every week)/i, 'once weekly'],
  [/^(?:once|one) (?:monthly|a month|per month)|^monthly/i, 'once monthly'],
  [
    /^(?:(?:once )?(?:(?:daily|a day|per day|every day|each day) )?(?:at night|at bedtime|every night|nightly|nocte|in the evening|every evening|h\.?s\b\.?|qhs\b|on\b))/i,
    'at night',
  ],
  [/^(?:(?:once )?(?:daily )?(?:in the morning|every morning|each morning|mane|om\b|qam\b))/i, 'in the morning'],
  [/^(?:as needed|as required|when needed|when required|if needed|if required|p\.?r\.?n\b\.?)/i, 'as needed'],
  [
    /^(?:once (?:daily|a day|per day|each day|every day)|one daily|every day|each day|daily|a day|per day|1 ?(?:x|times?) ?(?:daily|a day|per day|\/ ?day)|q\.?d\b\.?|o\.?d\b\.?|every 24 hours|\/ ?day)/i,
    'once daily',
  ],
  [/^(\d)\s?-\s?(\d)\s?-\s?(\d)(?:\s?-\s?\d)?\b/, null],
]

const DRUG_LIKE =
  /(?:pril|olol|alol|statin|sartan|azole|formin|dipine|mycin|cillin|azepam|zolam|oxetine|traline|ipram|triptyline|gliptin|gliflozin|glutide|parin|xaban|thiazide|semide|actone|profen|fenac|coxib|codone|morphine|setron|triptan|racetam|barbital|azepine|bactam|floxacin|cycline|vir|mab|nib|terol|sone|solone|nide|tropium|lukast|tidine|caine|dronate|thyroxine|warfarin|digoxin|aspirin|paracetamol|acetaminophen|insulin|lithium|clopidogrel|allopurinol|colchicine|gabapentin|pregabalin|tramadol|codeine|salbutamol|metolazone|methotrexate|hydroxychloroquine|iron|sulfate|folic|vitamin|calcium|potassium|magnesium|glargine|aspart|lispro|gliclazide|glipizide|glimepiride|pioglitazone|amiodarone|diltiazem|verapamil|nitroglycerin|nitrate|hydralazine|clonidine|doxazosin|tamsulosin|finasteride|mirtazapine|venlafaxine|duloxetine|bupropion|trazodone|quetiapine|olanzapine|risperidone|haloperidol|citalopram|escitalopram|lamotrigine|valproate|topiramate|phenytoin|levodopa|donepezil|memantine|cetirizine|loratadine|montelukast|theophylline|estradiol|progesterone|tamoxifen|letrozole)$/i

const STOP =
  /^(?:and|or|with|on|of|is|are|was|takes?|taking|took|the|a|an|to|for|has|been|his|her|he|she|they|their|prescribed|started|starting|currently|includes?|including|medications?|medicines?|drugs?|rx|current|regular|continues?|continue|plus|also|then|at|in|by|receives?|uses?|using|given|daily|night|day|morning|needed|dose|be|we|i|have|increased|reduced|from|treated|therapy|treatment|remains|stable|his|regime|regimen|consists|comprises|comprising|b\.?i\.?d|t\.?i\.?d|q\.?i\.?d|o\.?d|b\.?d|tds|qds|qd|prn|hs|po|nocte|mane|weekly|required|hours|md|dr)$/i
const FORM_WORD =
  /^(?:tablets?|tabs?|capsules?|caps?|inhalers?|injections?|oral|cream|solution|drops?|spray|patch(?:es)?)$/i

/** `listed`: the words stand in a list of medications. */
export function medicationsIn(row: readonly Token[], listed: boolean): FoundMedication[] {
  const all = strip(row)
  const found: FoundMedication[] = []
  for (const match of all.text.matchAll(DOSE)) {
    const drug = drugBefore(within(all, 0, match.index))
    if (drug.length === 0) continue
    const to = match.index + match[0].length
    const after = all.text.slice(to)
    const skipped = FORM.exec(after)?.[0].length ?? 0
    const frequency = frequencyAt(after.slice(skipped))
    const name = drug
      .map((token) => token.text.replace(/[^\p{L}\p{N})-]+$/u, '').replace(/^[^\p{L}\p{N}(]+/u, ''))
      .join(' ')
    const looksRight = listed || name.split(' ').some((word) => DRUG_LIKE.test(word)) || frequency !== null
    if (!looksRight || (frequency === null && /^%|mmol$/i.test(match[2]!))) continue
    const end = frequency === null ? to : to + skipped + frequency.length
    const from = all.starts[all.tokens.indexOf(drug[0]!)]!
    const dose = match[1]!.replace(/\s/g, '').replace(',', '.')
    found.push({
      value: { drug: name, dose, unit: unitOf(match[2]!), frequency: frequency?.words ?? null },
      tokens: within(all, from, end),
    })
  }
  return found
}

const unitOf = (read: string): string => {
  const unit = read.toLowerCase()
  if (/^(?:ug|µg|micrograms?)$/.test(unit)) return 'mcg'
  if (/^milligrams?$/.test(unit)) return 'mg'
  return unit === 'grams' || unit === 'gram' ? 'g' : unit === 'u' ? 'units' : unit
}

/** The words right before the dose that can be a name: up to three, back to a mark, a number or a common word. */
function drugBefore(tokens: readonly Token[]): Token[] {
  const drug: Token[] = []
  const rest = [...tokens]
  while (rest.length > 0 && (FORM_WORD.test(rest.at(-1)!.text) || /^[-–—:|(]+$/.test(rest.at(-1)!.text))) rest.pop()
  for (const token of rest.toReversed()) {
    const bare = token.text.replace(/[,;:.]+$/, '')
    const ends = drug.length > 0 && /[,;:.]$/.test(token.text)
    // A gap parts columns; only the dose may stand in a column of its own.
    const next = drug[0]
    const isApart = next !== undefined && Math.abs(next.y - token.y) < token.h && next.x0 - token.x1 > token.h * 1.5
    if (ends || isApart || /\d{3}/.test(bare)) break
    if (drug.length === 3 || !/^[(]?\p{L}[\p{L}\p{N}()/'-]*$/u.test(bare) || bare.length < 2 || STOP.test(bare)) break
    drug.unshift(token)
  }
  return drug
}

function frequencyAt(text: string): { words: string; length: number } | null {
  const lead = /^[\s,;:.(|–—-]*/.exec(text)![0].length
  const rest = text.slice(lead)
  for (const [pattern, words] of FREQUENCIES) {
    const match = pattern.exec(rest)
    if (!match) continue
    return {
      words: words === null ? match[0].replace(/\s/g, '') : words.replace('$1', match[1] ?? ''),
      length: lead + match[0].length,
    }
  }
  return null
}
