BEGIN;
\copy peer (sender, kind, agent, body) FROM '/tmp/bulkwork/rows.inbound'
INSERT INTO omnichannel.contact (customer_id, occurred_at, channel, direction, outcome, agent_id, body, source, source_key)
SELECT i.customer_id, p.sent, 'email', p.kind, 'received', p.agent, p.body, 'peer', p.id::text
FROM peer AS p JOIN omnichannel.identity AS i ON i.kind = 'email' AND i.value = p.sender WHERE p.sent = now();
COMMIT;
