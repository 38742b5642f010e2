/** Who there is, and which role in the database each has. */
export const people = {
  ann: { name: 'Ann', role: 'employee' },
  bob: { name: 'Bob', role: 'employee' },
  maria: { name: 'Maria', role: 'manager' },
} as const;

export type Person = keyof typeof people;
