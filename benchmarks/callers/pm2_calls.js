// Times pm2's own list call: MODULE CALLS CLIENTS fresh|kept SECONDS -> a JSON list of seconds.
// Clients share pm2's one connection; fresh: one after another, each with a connection of its own.
const [, , modulePath, calls, clients, mode, seconds] = process.argv;
const pm2 = require(modulePath);

const promised = (verb) => () => new Promise((done, fail) => pm2[verb]((error, all) => (error ? fail(error) : done(all))));
const connect = promised('connect');
const list = promised('list');
const now = () => Number(process.hrtime.bigint()) / 1e9;

(async () => {
  const taken = [];
  const end = now() + Number(seconds);
  const fresh = mode === 'fresh';
  let sent = 0;
  const client = async () => {
    while (sent < Number(calls) && now() < end) {
      sent += 1;
      const begun = now();
      if (fresh) await connect();
      await list();
      taken.push(now() - begun);
      if (fresh) pm2.disconnect();
    }
  };
  if (!fresh) await connect();
  await Promise.all(Array.from({ length: fresh ? 1 : Number(clients) }, client));
  console.log(JSON.stringify(taken));
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
