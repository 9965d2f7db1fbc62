/** Names of the collections of heartbeats, members and leases. */
export const DEPLOYMENT = 'deployment'
export const MEMBERS = 'members'
export const LEASES = 'leases'
