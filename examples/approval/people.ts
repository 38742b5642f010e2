/** Who there is, and which role in the database each has. */
export const people = {
  ann: { name: 'Ann', role: 'employee' },
  bob: { name: 'Bob', role: 'employee' },
  maria: { name: 'Maria', role: 'manager' },
  // Sees all runs on the page of pgflow-live.
  olga: { name: 'Olga', role: 'operator' },
} as const;

export type Person = keyof typeof people;
