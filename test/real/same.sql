-- What was logged while it was written, and what backfill() imported of a second copy of the same rows, must be the same:
-- contacts by row, customers by identity, relationships with agents.
-- Needs the psql variables live and imported, the two tables, and live_kind and imported_kind, their kinds of identity.
-- Requests are left out: history opens none.
SELECT clock_timestamp() AS began \gset
SELECT omnichannel.backfill(:'imported') AS rows \gset
SELECT clock_timestamp() AS ended \gset
ANALYZE omnichannel.contact, omnichannel.identity, omnichannel.relationship;

CREATE TEMP TABLE compared AS
SELECT live.source_key AS live_row, imported.source_key AS imported_row,
	live.customer_id AS live_customer, imported.customer_id AS imported_customer,
	(live.occurred_at, live.channel, live.direction, live.outcome, live.agent_id, live.thread, live.subject, live.body, live.payload)
		IS NOT DISTINCT FROM
	(imported.occurred_at, imported.channel, imported.direction, imported.outcome, imported.agent_id, imported.thread, imported.subject,
		imported.body, imported.payload) AS same
FROM (SELECT * FROM omnichannel.contact WHERE source = :'live') AS live
FULL JOIN (SELECT * FROM omnichannel.contact WHERE source = :'imported') AS imported USING (source_key);

-- Whom the two call by one name, and what agents know of them.
CREATE TEMP TABLE known AS
SELECT live.customer_id AS live_customer, imported.customer_id AS imported_customer
FROM (SELECT * FROM omnichannel.identity WHERE kind = :'live_kind') AS live
FULL JOIN (SELECT * FROM omnichannel.identity WHERE kind = :'imported_kind') AS imported USING (value);
CREATE TEMP TABLE met AS
SELECT (live.contacts, live.first_at, live.last_at, live.aged_at) = (imported.contacts, imported.first_at, imported.last_at, imported.aged_at)
	AND abs(live.strength - imported.strength) <= 1e-9 * live.strength AS same
FROM (SELECT k.imported_customer AS customer_id, r.agent_id, r.contacts, r.first_at, r.last_at, r.aged_at, r.strength
	FROM known AS k JOIN omnichannel.relationship AS r ON r.customer_id = k.live_customer) AS live
FULL JOIN (SELECT k.imported_customer AS customer_id, r.agent_id, r.contacts, r.first_at, r.last_at, r.aged_at, r.strength
	FROM known AS k JOIN omnichannel.relationship AS r ON r.customer_id = k.imported_customer) AS imported
USING (customer_id, agent_id);

SELECT :rows AS imported, round(:rows / extract(epoch FROM :'ended'::timestamptz - :'began'::timestamptz)) AS rows_a_second,
	(SELECT count(*) FROM compared) AS contacts, (SELECT count(*) FROM compared WHERE same) AS as_live,
	(SELECT count(*) FROM known) AS customers, (SELECT count(*) FROM known WHERE live_customer <> imported_customer) AS known_to_both,
	(SELECT count(*) FROM met) AS relationships, (SELECT count(*) FROM met WHERE same) AS alike;
SELECT :rows = (SELECT count(*) FROM :live) AND :rows = (SELECT count(*) FROM :imported)
	AND (SELECT count(*) FROM compared) = :rows AND (SELECT bool_and(live_row IS NOT NULL AND imported_row IS NOT NULL AND same) FROM compared)
	AND NOT EXISTS (SELECT live_customer, imported_customer FROM compared EXCEPT SELECT live_customer, imported_customer FROM known)
	AND NOT EXISTS (SELECT live_customer, imported_customer FROM known EXCEPT SELECT live_customer, imported_customer FROM compared)
	AND (SELECT bool_and(same IS TRUE) IS NOT FALSE FROM met) AS ok \gset
\if :ok
\else
	DO $$BEGIN RAISE EXCEPTION 'what backfill() imported differs from what was logged live'; END$$;
\endif
-- Neither the imported rows nor those that were logged live are new to it.
SELECT omnichannel.backfill(:'imported') + omnichannel.backfill(:'live') = 0 AS ok \gset
\if :ok
\else
	DO $$BEGIN RAISE EXCEPTION 'backfill() logged rows twice'; END$$;
\endif
DROP TABLE compared, known, met;
