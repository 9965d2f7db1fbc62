/** How many happened in the last minute, to the second: 60 numbers, however many there are. */
const SECONDS = 60

export type MinuteCount = { count(atMs: number): void; lastMinute(nowMs: number): number }

export const createMinuteCount = (): MinuteCount => {
  const counts = Array.from({ length: SECONDS }, () => ({ second: -1, count: 0 }))
  return {
    count(atMs) {
      const second = Math.floor(atMs / 1_000)
      const place = counts[((second % SECONDS) + SECONDS) % SECONDS]!
      if (place.second === second) place.count += 1
      else Object.assign(place, { second, count: 1 })
    },
    lastMinute(nowMs) {
      const since = Math.floor(nowMs / 1_000) - SECONDS
      return counts.reduce((sum, { second, count }) => (second > since ? sum + count : sum), 0)
    },
  }
}
