/** Tables as others read them (V1). */
import { describe, expect, test } from 'vitest'
import { csvTable } from '../../src/ledger/csv.js'
import type { CsvValue } from '../../src/ledger/csv.js'

const cells = (...values: CsvValue[]) =>
  csvTable(
    values.map((_, n) => ({ name: `c${n}`, of: (row: CsvValue[]) => row[n]! })),
    [values],
  ).split('\r\n')[1]

describe('a table', () => {
  test('has a header line, CRLF, and nothing where there is nothing', () =>
    expect(
      csvTable(
        [
          { name: 'a', of: (n: number) => n },
          { name: 'b', of: () => null },
        ],
        [1, 2],
      ),
    ).toBe('a,b\r\n1,\r\n2,\r\n'))

  test('quotes what would break it (RFC 4180)', () => {
    expect(cells('a,b', 'say "x"', 'plain')).toBe('"a,b","say ""x""",plain')
    expect(csvTable([{ name: 'a', of: () => 'two\r\nlines' }], [0])).toBe('a\r\n"two\r\nlines"\r\n')
  })

  test.each(['=1+1', '+1+1', '-source', '@cmd', '\tx', '\uff1dx'])('V1: %j is no formula', (text) =>
    expect(cells(text)).toBe(`'${text}`),
  )
  test.each(['-0.40', '0.40', '-12'])('V1: the amount %s stays a number', (text) => expect(cells(text)).toBe(text))
})
