export const WEBHOOK_SECRET: string
