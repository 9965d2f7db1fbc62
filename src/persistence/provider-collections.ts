/** Names of the collections of what is known of providers. */
export const PROVIDERS = 'providers'
export const PROVIDER_HEALTH = 'provider_health'
export const BUDGETS = 'budgets'

/** Health is kept for two days, by minutes; a day's counters a little longer, for the questions of the day after. */
export const HEALTH_KEPT_SECONDS = 48 * 3_600
export const BUDGETS_KEPT_SECONDS = 7 * 24 * 3_600
