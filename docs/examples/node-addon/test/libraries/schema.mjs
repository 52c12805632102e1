// What the GraphQL servers of these tests know.

import { buildSchema } from 'graphql';

export const schema = buildSchema(`
  type Query { echo(text: String!): String! }
  type Mutation { add(n: Int!): Int! }
  type Subscription { count(to: Int!): Int! lasting: String! }
`);

let sum = 0;

// One value, and no more until it is told to return.
function lasting() {
  let begun = false;
  let end;
  const ended = new Promise((resolve) => {
    end = () => resolve({ value: undefined, done: true });
  });
  return {
    next() {
      if (begun) return ended;
      begun = true;
      return Promise.resolve({ value: { lasting: 'begun' }, done: false });
    },
    return() {
      end();
      return ended;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

export const roots = {
  query: { echo: ({ text }) => text },
  mutation: { add: ({ n }) => (sum += n) },
  subscription: {
    async *count({ to }) {
      for (let count = 1; count <= to; count++) yield { count };
    },
    lasting,
  },
};

// All results of an operation.
export function ask(client, query, variables) {
  return new Promise((resolve, reject) => {
    const results = [];
    client.subscribe({ query, variables }, {
      next: (result) => results.push(result),
      error: reject,
      complete: () => resolve(results),
    });
  });
}
