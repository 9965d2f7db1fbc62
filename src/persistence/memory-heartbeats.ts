/** The heartbeats' twin in memory: one object is the whole deployment, `clock` is its server's time. */
import type { Heartbeats, Member, Outage } from './contract.js'
import { WORKER_ROLE } from './mongo-heartbeats.js'
import { plainCopy } from './plain-copy.js'

export const createMemoryHeartbeats = (clock: { now(): Date }): Heartbeats => {
  const members = new Map<string, Member & { at: Date }>()
  const leases = new Map<string, { holder: string; until: number }>()
  let outages: Outage[] = []
  let lastBeat: Date | null = null
  return {
    beat: async (member, { gapMs, keepMs }) => {
      const now = clock.now()
      members.set(member.id, { ...plainCopy(member), at: now })
      if (member.roles.includes(WORKER_ROLE)) {
        outages = outages.filter(({ to }) => to.getTime() >= now.getTime() - keepMs)
        if (lastBeat && now.getTime() - lastBeat.getTime() > gapMs) outages.push({ from: lastBeat, to: now })
        lastBeat = lastBeat && lastBeat > now ? lastBeat : now
      }
      return { now, outages: plainCopy(outages.filter(({ to }) => to.getTime() >= now.getTime() - keepMs)) }
    },
    members: async (withinMs) => {
      const since = clock.now().getTime() - withinMs
      return plainCopy([...members.values()].filter(({ at }) => at.getTime() > since)).sort((a, b) =>
        a.id < b.id ? -1 : 1,
      )
    },
    leave: async (id) => void members.delete(id),
    lease: async (name, holder, forMs) => {
      const now = clock.now().getTime()
      const held = leases.get(name)
      if (held && held.holder !== holder && held.until > now) return false
      leases.set(name, { holder, until: now + forMs })
      return true
    },
  }
}
