/**
 * Tables as RFC 4180 writes them: CRLF, a header line, quotes where they are needed.
 *
 * V1 No cell is a formula to a spreadsheet: one that begins like one gets a leading apostrophe
 *    (https://owasp.org/www-community/attacks/CSV_Injection). Amounts are numbers and stay as they are.
 */

export type CsvValue = string | number | boolean | null
export type CsvColumn<Row> = { name: string; of(row: Row): CsvValue }

const NUMBER = /^-?\d+(\.\d+)?$/
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/

const cell = (value: CsvValue): string => {
  if (value === null) return ''
  const text = String(value)
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

const line = (values: readonly CsvValue[]): string => `${values.map(cell).join(',')}\r\n`

export const csvHead = <Row>(columns: readonly CsvColumn<Row>[]): string => line(columns.map(({ name }) => name))
export const csvRow = <Row>(columns: readonly CsvColumn<Row>[], row: Row): string =>
  line(columns.map((column) => column.of(row)))
export const csvTable = <Row>(columns: readonly CsvColumn<Row>[], rows: readonly Row[]): string =>
  csvHead(columns) + rows.map((row) => csvRow(columns, row)).join('')
