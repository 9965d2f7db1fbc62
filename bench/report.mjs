/** A run's readings as a table for the terminal, and as docs/bench.md. */

const fixed = (digits) => (value) => (value === null || value === undefined ? '-' : value.toFixed(digits))
const COLUMNS = [
  ['records/s', 'perSecond', fixed(0)],
  ['CPU ms', 'serviceCpuMs', fixed(2)],
  ['mongod CPU ms', 'mongoCpuMs', fixed(2)],
  ['nats CPU ms', 'natsCpuMs', fixed(2)],
  ['load CPU ms', 'loadCpuMs', fixed(2)],
  ['writes', 'writes', fixed(2)],
  ['batches', 'batches', fixed(2)],
  ['reads', 'reads', fixed(2)],
  ['requests', 'requests', fixed(2)],
  ['journal syncs', 'journalSyncs', fixed(2)],
  ['journal KiB', 'journalKiB', fixed(1)],
  ['turns (records/s)', 'turns', (turns) => turns.map(fixed(0)).join(', ')],
]
const LATENCY_COLUMNS = [
  ['p50 ms', 'p50', fixed(1)],
  ['p95 ms', 'p95', fixed(1)],
  ['p99 ms', 'p99', fixed(1)],
  ['records', 'count', String],
]

const linesOf = ({ name, rows }) => {
  const columns = name === 'latency' ? LATENCY_COLUMNS : COLUMNS
  const cells = rows.map((row) => [row.label, ...columns.map(([, key, show]) => show(row[key]))])
  const table = [['', ...columns.map(([head]) => head)], ...cells]
  const widths = table[0].map((_, at) => Math.max(3, ...table.map((line) => line[at].length)))
  const line = (texts) => `| ${texts.map((text, at) => text.padEnd(widths[at])).join(' | ')} |`
  return [line(table[0]), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)]
}

const byLabel = (results, name, label) =>
  results.find((one) => one.name === name)?.rows.find((row) => row.label.startsWith(label))

/** Each aim with what was measured; those whose scenario was not run are left out. */
export function aimsOf({ results }) {
  const aims = []
  const add = (text, measured, met) => aims.push({ text, measured, met })
  const one = byLabel(results, 'one-step', 'Endstate')
  if (one) {
    const ratio = one.perSecond / byLabel(results, 'one-step', 'baseline').perSecond
    add('one step: 2 times the baseline', `${ratio.toFixed(2)} times`, ratio >= 2)
    add('one step: 0.7 ms CPU a record', `${one.serviceCpuMs.toFixed(2)} ms`, one.serviceCpuMs <= 0.7)
  }
  const latency = byLabel(results, 'latency', 'Endstate')
  if (latency) add('p50 under 6 ms at 50 records/s', `${latency.p50.toFixed(1)} ms`, latency.p50 < 6)
  const chain = byLabel(results, 'chain', 'three')
  if (chain) {
    const share = chain.perSecond / byLabel(results, 'chain', 'one').perSecond
    add('three steps: at most 5 journaled writes', chain.writes.toFixed(2), chain.writes < 5.05)
    add('three steps: half the rate of one step', `${share.toFixed(2)} of it`, share >= 0.5)
  }
  const narrow = byLabel(results, 'slots', '32')
  if (narrow) {
    const share = narrow.perSecond / byLabel(results, 'slots', '64').perSecond
    add('half the slots: no slow mode', `${share.toFixed(2)} of the rate`, share >= 0.85)
  }
  const many = byLabel(results, 'processes', 'Endstate')
  if (many) {
    const ratio = many.perSecond / byLabel(results, 'processes', 'baseline').perSecond
    add('4 processes: 2 times 4 baselines', `${ratio.toFixed(2)} times`, ratio >= 2)
  }
  return aims
}

const aimLines = (report) =>
  aimsOf(report).map(({ text, measured, met }) => `${text}: ${measured} (${met ? 'met' : 'not met'})`)

export const tableOf = (report) =>
  [
    ...report.results.flatMap((result) => ['', result.title, ...linesOf(result)]),
    '',
    ...aimLines(report),
    `${report.seconds.toFixed(0)} s in all.`,
  ].join('\n')

export const markdownOf = (report) => {
  const { machine, results, startedAt } = report
  return `${[
    '# Bench',
    '',
    'Written by `npm run bench -- --write`; do not edit. What each column means and how it is measured: bench/README.md.',
    '',
    `Run on ${startedAt.toISOString().slice(0, 10)}: ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}; Node ${machine.node}, mongod ${machine.mongod} (one-member replica set, majority and journal), nats-server ${machine.natsServer}.`,
    '',
    '| aim | measured | |',
    '| --- | --- | --- |',
    ...aimsOf(report).map(({ text, measured, met }) => `| ${text} | ${measured} | ${met ? 'met' : 'not met'} |`),
    ...results.flatMap((result) => ['', `## ${result.title}`, '', ...linesOf(result)]),
  ].join('\n')}\n`
}
