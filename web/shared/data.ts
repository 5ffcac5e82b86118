/** Reads the data that the server has put into the page with `dataBlock`. */
export const readData = <Data>(): Data => JSON.parse(document.getElementById('data')!.textContent!) as Data
