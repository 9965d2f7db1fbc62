/** Names of the GridFS bucket and its two collections. */
export const BLOB_BUCKET = 'blobs'
export const BLOB_FILES = `${BLOB_BUCKET}.files`
export const BLOB_CHUNKS = `${BLOB_BUCKET}.chunks`
