/** Signs the deliveries of the model server that can be asked. */
export const WEBHOOK_SECRET = 'whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHM='
