/** Values as people read them in a terminal. Pure. */

const UNITS: readonly [ms: number, name: string][] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
]

/** `0.3 s`, `12.0 s`, `1 h 6 min`: under a minute with a tenth, from then on the two largest units. */
export const durationText = (ms: number): string => {
  if (ms < 59_950) return `${(Math.max(0, ms) / 1000).toFixed(1)} s`
  let rest = Math.round(ms / 1000) * 1000
  const parts: string[] = []
  for (const [unit, name] of UNITS) {
    const count = Math.floor(rest / unit)
    rest -= count * unit
    if (count > 0) parts.push(`${count} ${name}`)
    else if (parts.length > 0) break
    if (parts.length === 2) break
  }
  return parts.join(' ')
}

/** The same for an upper bound: rounded up to what is shown. */
export const boundText = (ms: number): string => {
  const unit = ms < 59_950 ? 100 : ms < 3_600_000 ? 1_000 : ms < 86_400_000 ? 60_000 : 3_600_000
  return durationText(Math.ceil(ms / unit) * unit)
}

export const between = (from: string, to: string): number => Date.parse(to) - Date.parse(from)

export const bytesText = (bytes: number): string => {
  if (bytes < 1024) return `${bytes} B`
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(0)} KiB`
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

/** `2026-01-01 12:00:00`, in UTC as everywhere. */
export const timeText = (iso: string): string => iso.slice(0, 19).replace('T', ' ')

/** What came from outside must not steer the terminal: control characters are shown as `?`. */
// oxlint-disable-next-line no-control-regex -- these are the ones
export const safeText = (text: string): string => text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?')

export const clip = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`

/** The same, keeping the end: of a file's name or of a key made of parts that is what tells it apart. */
export const clipMiddle = (text: string, width: number): string => {
  if (text.length <= width) return text
  const end = Math.ceil((width - 1) / 2)
  return `${text.slice(0, width - 1 - end)}…${text.slice(text.length - end)}`
}

/** `12,345` */
export const countText = (count: number): string => count.toLocaleString('en-US', { maximumFractionDigits: 2 })

/** A table without the columns in which no row has anything. */
export const withoutEmptyColumns = (rows: readonly (readonly string[])[]): string[][] => {
  const used = new Set(rows.flatMap((row) => row.flatMap((cell, n) => (cell === '' ? [] : [n]))))
  return rows.map((row) => row.filter((_, n) => used.has(n)))
}

/** Columns as wide as their widest cell, two spaces between, nothing after the last. */
export const tableText = (rows: readonly (readonly string[])[]): string[] => {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, n) => (widths[n] = Math.max(widths[n] ?? 0, cell.length)))
  return rows.map((row) =>
    row
      .map((cell, n) => cell.padEnd(widths[n] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
