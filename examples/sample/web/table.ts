/** Shows accounts as a table that can be sorted by any column. */

export interface Account {
  name: string;
  kind: "asset" | "liability" | "income" | "expense";
  balance: number;
}

export type Column = keyof Account;

export function sortBy(accounts: Account[], column: Column, ascending = true): Account[] {
  const direction = ascending ? 1 : -1;
  return [...accounts].sort((a, b) => {
    if (a[column] < b[column]) return -direction;
    if (a[column] > b[column]) return direction;
    return 0;
  });
}

export function formatBalance(account: Account): string {
  return account.balance.toFixed(2);
}

export function renderRow(account: Account): HTMLTableRowElement {
  const row = document.createElement("tr");
  for (const text of [account.name, account.kind, formatBalance(account)]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    row.appendChild(cell);
  }
  return row;
}
