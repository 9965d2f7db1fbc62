/** What monitors are told of the audit in the background: of the whole deployment, as its last pass left it. */
import { Gauge, Registry } from 'prom-client'
import { INVARIANT_NAMES, type AuditReport } from '../audit/contract.js'

export const auditMetrics = ({ at, records, unsettled, broken, ms }: AuditReport): Registry => {
  const registry = new Registry()
  const gauge = (name: string, help: string, value: number) =>
    new Gauge({ name, help, registers: [registry] }).set(value)
  const findings = new Gauge({
    name: 'endstate_audit_findings',
    help: 'Broken invariants that are not mended, by invariant. Anything but 0 is an alarm.',
    labelNames: ['invariant'],
    registers: [registry],
  })
  for (const invariant of INVARIANT_NAMES) findings.set({ invariant }, broken[invariant] ?? 0)
  gauge('endstate_audit_records', 'Records that the last pass looked at.', records)
  gauge('endstate_audit_unsettled_records', 'Of them, those that were not settled.', unsettled)
  gauge('endstate_audit_pass_seconds', 'How long the last pass took.', ms / 1_000)
  gauge('endstate_audit_last_pass_timestamp_seconds', 'When the last pass began.', at.getTime() / 1_000)
  return registry
}
