/** A file name, or a part of it, in the form in which names are compared: lower case, and composed (UAX #15). */
export const toSearchName = (name: string) => name.normalize('NFC').toLowerCase()
