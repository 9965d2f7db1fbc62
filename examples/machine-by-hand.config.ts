/**
 * A machine written by hand: a referral is read, and what it says decides the way. An urgent one goes on at once; any
 * other waits a minute first, so that urgent ones find free slots. `verify` proves that this, too, always settles.
 *
 *   endstate verify --config examples/machine-by-hand.config.ts
 */
import { endstate, extract, ExtractOutput, ReadOutput, tesseract } from 'endstate'

const es = endstate({ providers: { tesseract: tesseract(), extract: extract() } })

const machine = es.machine('urgent-first', {
  revision: 1,
  description: 'Urgent referrals before others.',
  accepts: ['image/*', 'application/pdf'],
  steps: (chain) =>
    chain.step('read', { use: ['tesseract'], output: ReadOutput, deadline: '25s' }).step('extract', {
      use: ['extract'],
      request: ({ read }) => ({ pages: read.pages }),
      output: ExtractOutput,
      deadline: '10s',
      price: { fixed: '0.40', currency: 'EUR' },
    }),
})

const urgentFirst = machine
  .setup({
    guards: { isUrgent: ({ read }) => /\burgent\b/i.test(read?.text ?? '') },
    delays: { patience: '1m' },
  })
  .createMachine({
    initial: 'read',
    states: {
      read: machine.step('read', { done: [{ guard: 'isUrgent', target: 'extract' }, { target: 'waiting' }] }),
      waiting: { description: 'Not urgent: gives way for a minute.', after: { patience: 'extract' } },
      extract: machine.step('extract', { done: 'completed' }),
      ...machine.settled,
    },
  })

export default es.config({ pipelines: [urgentFirst] })
