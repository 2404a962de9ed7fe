CREATE FUNCTION omnichannel.log_contact_trigger() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_log_contact_trigger';
COMMENT ON FUNCTION omnichannel.log_contact_trigger() IS
'Trigger function of tracked tables: logs their rows in the writing statement, with the rights of the owner of the log. track() makes its triggers; its argument is the code of a tracking. Raises 42501 on a relation that the tracking is not of, 42703 and 42804 where its columns are no longer there or no longer suit, what log_contact() raises for a row, 23505 for a new row under a key that is logged of another, and 39P01 for a trigger of another make.';

CREATE FUNCTION omnichannel.check_tracking(tracking text) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_check_tracking';
COMMENT ON FUNCTION omnichannel.check_tracking(text) IS
'Returns nothing, or raises what is wrong with a mapping: 42703 for a column that is not there, 42804 for one whose type does not suit, 23503 for a constant that is no channel, kind of identity, agent, request or customer, 22023, 22P02, 22001 and 54000 for another one that no contact can have, 22023 for a source_key without any column, 42704 for a tracking that does not exist, 42P01 where its relation is gone.';

CREATE FUNCTION omnichannel.note_partitions(tracking text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	changed bigint;
	forgotten bigint;
BEGIN
	PERFORM omnichannel.require_setup();
	-- Read from the catalogue: functions that walk the tree would wait for the locks of whoever alters it.
	WITH RECURSIVE tree AS (
		SELECT t.source, t.tracking, child.inhrelid
		FROM omnichannel.tracking AS t
		JOIN pg_class AS whole ON whole.oid = t.relation AND whole.relkind = 'p'
		JOIN pg_inherits AS child ON child.inhparent = t.relation
		WHERE note_partitions.tracking IS NULL OR t.tracking = note_partitions.tracking
		UNION ALL
		SELECT tree.source, tree.tracking, child.inhrelid FROM tree JOIN pg_inherits AS child ON child.inhparent = tree.inhrelid
	)
	INSERT INTO omnichannel.tracked_table AS m (source, relation, tracking, partition)
	SELECT tree.source, tree.inhrelid::regclass, tree.tracking, true FROM tree
	WHERE NOT EXISTS (SELECT FROM omnichannel.tracked_table AS known
			WHERE known.source = tree.source AND known.relation = tree.inhrelid AND known.tracking = tree.tracking AND known.partition)
		AND NOT EXISTS (SELECT FROM omnichannel.tracking AS own WHERE own.relation = tree.inhrelid)
	ON CONFLICT (source, relation) DO UPDATE SET tracking = excluded.tracking, partition = true;
	GET DIAGNOSTICS changed = ROW_COUNT;
	-- A source keeps the memory of a table that is gone, but not its number, which may become another table's.
	INSERT INTO omnichannel.tracked_table (source, relation, tracking)
	SELECT DISTINCT ON (m.source) m.source, 0::regclass, m.tracking FROM omnichannel.tracked_table AS m
	WHERE NOT m.partition AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = m.relation) ORDER BY m.source, m.tracked_at DESC
	ON CONFLICT (source, relation) DO NOTHING;
	DELETE FROM omnichannel.tracked_table AS m
	WHERE m.relation <> 0 AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = m.relation);
	GET DIAGNOSTICS forgotten = ROW_COUNT;
	RETURN changed + forgotten;
END
$$;
COMMENT ON FUNCTION omnichannel.note_partitions(text) IS
'Notes the partitions of one tracked table, or of all, and the tables that are gone, in tracked_table, and returns how many changed. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.tick_tracking() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	IF NOT has_table_privilege('omnichannel.tracked_table', 'INSERT, UPDATE, DELETE') THEN
		RETURN 0;
	END IF;
	PERFORM omnichannel.require_writer('tick_tracking()', 'tracked_table', 'INSERT, UPDATE, DELETE');
	RETURN omnichannel.note_partitions();
END
$$;
COMMENT ON FUNCTION omnichannel.tick_tracking() IS
'Notes the partitions that tracked tables have got or lost, so that tracked_relations can show what was detached, and tables that are gone, and returns how many; tick() calls it. Does nothing for roles that may not write tracked_table. Raises 55000 before setup(), 25006 in a read-only transaction.';

CREATE FUNCTION omnichannel.track(
	relation regclass,
	channel text,
	customer text DEFAULT NULL,
	kind text DEFAULT NULL,
	direction text DEFAULT NULL,
	outcome text DEFAULT NULL,
	occurred_at text DEFAULT NULL,
	agent text DEFAULT NULL,
	request text DEFAULT NULL,
	thread text DEFAULT NULL,
	subject text DEFAULT NULL,
	body text DEFAULT NULL,
	payload text DEFAULT NULL,
	source text DEFAULT NULL,
	source_key text DEFAULT NULL,
	recipient text DEFAULT NULL,
	value_maps jsonb DEFAULT NULL,
	time_zone text DEFAULT NULL,
	on_error text DEFAULT 'error',
	updates boolean DEFAULT false,
	on_replica boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	class pg_class;
	code text := track.relation::text;
	key text := track.source_key;
	fixed text;
	counted boolean;
	decides boolean;
	used text;
	renamed regclass;
	overlapping record;
	former text;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT * INTO class FROM pg_class WHERE oid = track.relation;
	IF class.relkind IS DISTINCT FROM 'r' AND class.relkind IS DISTINCT FROM 'p' THEN
		RAISE EXCEPTION '% is no table', coalesce(quote_literal(code), 'NULL')
			USING ERRCODE = 'wrong_object_type', HINT = 'Ordinary and partitioned tables can be tracked.';
	END IF;
	IF class.relpersistence = 't' OR class.relnamespace IN ('omnichannel'::regnamespace, 'pg_catalog'::regnamespace, 'information_schema'::regnamespace) THEN
		RAISE EXCEPTION 'table "%" cannot be tracked', code
			USING ERRCODE = 'wrong_object_type',
				HINT = 'Temporary tables and those of omnichannel or of the system are no application''s record.';
	END IF;
	IF track.channel IS NULL THEN
		RAISE EXCEPTION 'tracking of "%" has no channel', code
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'A contact names its channel: a code, as in channel => ''email'', or a column, as in channel => ''{channel}''.';
	END IF;
	IF track.on_error IS NULL OR track.on_error NOT IN ('error', 'quarantine') THEN
		RAISE EXCEPTION 'on_error cannot be %', coalesce(quote_literal(left(track.on_error, 60)), 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'It is error or quarantine.';
	END IF;
	IF track.time_zone IS NOT NULL AND NOT EXISTS (SELECT FROM pg_timezone_names AS zone WHERE zone.name = track.time_zone) THEN
		RAISE EXCEPTION 'time zone "%" is not known', left(track.time_zone, 60)
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'Use an IANA name, as in ''Europe/Berlin''; pg_timezone_names lists them.';
	END IF;
	IF jsonb_typeof(track.value_maps) <> 'object' THEN
		RAISE EXCEPTION 'value_maps cannot be %', left(track.value_maps::text, 60)
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'It is an object by argument, as in ''{"direction": {"I": "inbound", "note": null}}''.';
	END IF;
	IF track.source = '' OR octet_length(track.source) > 1000 THEN
		RAISE EXCEPTION 'source "%" is %', left(track.source, 60), CASE track.source WHEN '' THEN 'empty' ELSE 'longer than 1000 bytes' END
			USING ERRCODE = CASE track.source WHEN '' THEN 'invalid_parameter_value' ELSE 'string_data_right_truncation' END,
				HINT = 'It names the application or the table; left out, it is the name of the table.';
	END IF;
	-- A row is logged by one tracking.
	SELECT other.relation, other.relation IN (SELECT relid FROM pg_partition_ancestors(track.relation)) AS whole INTO overlapping
	FROM omnichannel.tracking AS other
	WHERE other.relation <> track.relation AND (other.relation IN (SELECT relid FROM pg_partition_ancestors(track.relation))
		OR track.relation IN (SELECT relid FROM pg_partition_ancestors(other.relation)));
	IF FOUND THEN
		RAISE EXCEPTION 'table "%" is a partition of "%": both cannot be tracked', CASE WHEN overlapping.whole THEN track.relation ELSE overlapping.relation END,
			CASE WHEN overlapping.whole THEN overlapping.relation ELSE track.relation END
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('A row is logged once: untrack(%L) first.', overlapping.relation);
	END IF;
	IF key IS NULL THEN
		-- The columns of the primary key, joined by slashes; without those that decide the partition, which change when
		-- a row moves, where the others name the row alone.
		WITH tree AS (
			SELECT relid FROM pg_partition_ancestors(track.relation) UNION SELECT track.relation UNION SELECT relid FROM pg_partition_tree(track.relation)
		), column_of AS (
			SELECT a.attname, bool_or(a.attnum = ANY (p.partattrs::smallint[])) AS decides,
				bool_or(a.attidentity <> '' OR a.atttypid = 'uuid'::regtype OR pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%') AS counted
			FROM tree JOIN pg_attribute AS a ON a.attrelid = tree.relid AND a.attnum > 0 AND NOT a.attisdropped
			LEFT JOIN pg_partitioned_table AS p ON p.partrelid = a.attrelid
			LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			GROUP BY a.attname
		)
		SELECT string_agg(format('{%s}', c.attname), '/' ORDER BY part.place),
			string_agg(format('{%s}', c.attname), '/' ORDER BY part.place) FILTER (WHERE c.decides IS NOT TRUE),
			bool_or(c.counted) FILTER (WHERE c.decides IS NOT TRUE), bool_or(c.decides)
		INTO key, fixed, counted, decides
		FROM pg_index AS index
		CROSS JOIN LATERAL unnest(index.indkey::smallint[]) WITH ORDINALITY AS part (number, place)
		JOIN pg_attribute AS a ON a.attrelid = index.indrelid AND a.attnum = part.number
		JOIN column_of AS c ON c.attname = a.attname
		WHERE index.indrelid = track.relation AND index.indisprimary;
		IF decides AND counted THEN
			key := fixed;
		ELSIF decides AND fixed IS NOT NULL THEN
			RAISE EXCEPTION 'the primary key of "%" holds what decides the partition, and changes when a row moves', code
				USING ERRCODE = 'invalid_parameter_value',
					HINT = format('Name what a row keeps, as in source_key => %L, or, where rows never move, source_key => %L.', fixed, key);
		END IF;
	END IF;

	-- What the table was tracked as before, it is again: its rows are logged under that source.
	used := coalesce(track.source,
		(SELECT m.source FROM omnichannel.tracked_table AS m WHERE m.relation = track.relation AND NOT m.partition
			ORDER BY m.tracked_at DESC, m.source LIMIT 1), code);
	IF EXISTS (
		SELECT FROM omnichannel.tracked_table AS m
		WHERE m.source = used AND NOT m.partition AND m.relation <> track.relation
			AND (m.tracking = code OR NOT EXISTS (SELECT FROM pg_class AS former WHERE former.oid = m.relation))
	) AND NOT EXISTS (
		SELECT FROM omnichannel.tracked_table AS m WHERE m.source = used AND m.relation = track.relation
	) AND EXISTS (SELECT FROM omnichannel.contact_key AS k WHERE k.source = used) THEN
		RAISE EXCEPTION 'source "%" has the keys of another table', used
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'A row with a key of that table would be taken for its row: pass another source. Where the rows are the same, first do DELETE FROM omnichannel.tracked_table WHERE source = '
					|| quote_literal(used) || '.';
	END IF;
	SELECT old.relation INTO renamed FROM omnichannel.tracking AS old JOIN pg_class AS c ON c.oid = old.relation
	WHERE old.tracking = code AND old.relation <> track.relation;
	IF FOUND THEN
		RAISE EXCEPTION 'table "%" is tracked as "%"', renamed, code
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'It was renamed since: call track() for it again, or untrack() it, before another table takes its name.';
	END IF;

	PERFORM omnichannel.drop_tracking_triggers(track.relation);
	-- What waits under the name that the table had before waits under the new one.
	SELECT old.tracking INTO former FROM omnichannel.tracking AS old WHERE old.relation = track.relation AND old.tracking <> code;
	IF FOUND THEN
		UPDATE omnichannel.contact_reject AS r SET tracking = code
		WHERE r.tracking = former AND NOT EXISTS (
			SELECT FROM omnichannel.contact_reject AS other
			WHERE other.tracking = code AND other.source = r.source AND other.source_key = r.source_key
		);
	END IF;
	DELETE FROM omnichannel.tracking AS old WHERE old.relation = track.relation OR old.tracking = code;
	INSERT INTO omnichannel.tracking (tracking, relation, source, channel, customer, recipient, kind, direction, outcome,
		occurred_at, agent, request, thread, subject, body, payload, source_key, value_maps, time_zone, on_error, updates)
	VALUES (code, track.relation, used, track.channel, track.customer, track.recipient, track.kind,
		track.direction, track.outcome, track.occurred_at, track.agent, track.request, track.thread, track.subject,
		track.body, track.payload, nullif(key, ''), track.value_maps, coalesce(track.time_zone, omnichannel.default_time_zone()),
		track.on_error, coalesce(track.updates, false));
	PERFORM omnichannel.check_tracking(code);
	INSERT INTO omnichannel.tracked_table AS m (source, relation, tracking) VALUES (used, track.relation, code)
	ON CONFLICT (source, relation) DO UPDATE SET tracking = code, partition = false, tracked_at = now();
	PERFORM omnichannel.note_partitions(code);

	IF class.relkind = 'p' OR class.relispartition THEN
		EXECUTE format('CREATE TRIGGER omnichannel_log_contact AFTER INSERT ON %s FOR EACH ROW '
			'EXECUTE FUNCTION omnichannel.log_contact_trigger(%L)', track.relation, code);
		-- Tells the rows that an UPDATE moves to another partition from new ones.
		EXECUTE format('CREATE TRIGGER omnichannel_log_contact_move AFTER DELETE ON %s FOR EACH ROW '
			'EXECUTE FUNCTION omnichannel.log_contact_trigger(%L)', track.relation, code);
		IF track.on_replica THEN
			EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER omnichannel_log_contact', track.relation);
			EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER omnichannel_log_contact_move', track.relation);
		END IF;
	ELSE
		EXECUTE format('CREATE TRIGGER omnichannel_log_contact AFTER INSERT ON %s REFERENCING NEW TABLE AS logged '
			'FOR EACH STATEMENT EXECUTE FUNCTION omnichannel.log_contact_trigger(%L)', track.relation, code);
		IF track.on_replica THEN
			EXECUTE format('CREATE TRIGGER omnichannel_log_contact_replica AFTER INSERT ON %s FOR EACH ROW '
				'EXECUTE FUNCTION omnichannel.log_contact_trigger(%L)', track.relation, code);
			EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER omnichannel_log_contact_replica', track.relation);
		END IF;
		-- Never fires. It makes the server refuse to attach the table as a partition: rows written through the whole
		-- would fire no statement trigger of this one.
		IF NOT EXISTS (SELECT FROM pg_inherits AS child WHERE child.inhrelid = track.relation) THEN
			EXECUTE format('CREATE TRIGGER omnichannel_untrack_before_attach AFTER INSERT ON %s REFERENCING NEW TABLE AS logged '
				'FOR EACH ROW WHEN (false) EXECUTE FUNCTION omnichannel.log_contact_trigger(%L)', track.relation, code);
			EXECUTE format('ALTER TABLE %s DISABLE TRIGGER omnichannel_untrack_before_attach', track.relation);
		END IF;
	END IF;
	IF track.updates THEN
		EXECUTE format('CREATE TRIGGER omnichannel_log_contact_update AFTER UPDATE ON %s FOR EACH ROW '
			'EXECUTE FUNCTION omnichannel.log_contact_trigger(%L)', track.relation, code);
		IF track.on_replica THEN
			EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER omnichannel_log_contact_update', track.relation);
		END IF;
	END IF;
	RETURN code;
END
$$;
COMMENT ON FUNCTION omnichannel.track(regclass, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, jsonb, text, text, boolean, boolean) IS
'From now on logs every row that is written to a table as a contact, in the same statement, and returns the code of the tracking; called again, it replaces the mapping.

Each mapping is a text in which {column} stands for the column''s value and anything else for itself.
customer: a customer_id, or an identity where kind says of which kind; NULL or blank ones, as of withheld numbers, become new customers, or the conversation''s where thread names one.
recipient: the same for outbound rows, where they hold their customer elsewhere; empty for rows whose customer only the thread tells.
direction, outcome, occurred_at, agent (agent_id), request (request_id), thread, subject, body: as log_contact() takes them.
payload: a json or jsonb column, or {*} for the whole row.
source: contact.source, by default the one that the table was tracked under last, else its name;
source_key: what tells rows apart, empty for rows that have no key; by default the primary key, of a partitioned table without the columns that decide the partition, where the others hold an identity, a serial or a uuid. Where it is made of several columns, a slash or a backslash in a value is written with a backslash before it, so that {a}/{b} tells all pairs apart.
value_maps: what the application''s values mean, by argument, as in {"direction": {"I": "inbound", "note": null}}, where null leaves the row out and "*" stands for all others, and {"customer": {"anonymous": ""}} says that nobody is known by that.
time_zone: of columns without one, by default the company''s.
on_error: error refuses a row that cannot be logged, quarantine keeps it in contact_reject, whatever the error but those of classes 25, 40, 53, 57, 58, 72 and XX, 55006 and 55P03, which are not about the row.
updates: also logs updated rows, or revises direction, outcome, agent, subject, body and payload of their contact, which opens or continues a request where it becomes inbound by that; where the contact is of a customer nobody knows by an identity or a name, and the row names one now, the nameless customer is merged into that one with all that was logged of it, reversibly; a customer who is known stays; a row without a key is logged anew each time, as nobody can tell which contact was its.
on_replica: also where session_replication_role is replica.

A key is logged once for ever: where the source_key names the row (the primary key, or the default), a row under a key that is logged of another time or customer, or, where the row has no time, whose contact would say anything else, is refused with 23505, as after TRUNCATE ... RESTART IDENTITY, and wants track() with another source; the same row again is silent.
So is the update of a row that was left out or waits in contact_reject, and so may never have been logged, while the key was: nobody''s update gets into another''s contact.

A row that an UPDATE moves to another partition is an updated one; with updates a row whose key changes keeps its contact, also where it moves at the same time or waits in contact_reject, unless the key is another row''s; where a BEFORE INSERT trigger of a partition may keep rows from arriving, one that moves is known by its key, or, without one, by its time and customer.

A table that inherits from another is tracked by itself.
A tracked table cannot be attached as a partition: untrack() it and track the whole; a detached partition loses its triggers and is no longer tracked, which tracked_relations shows: track() with nothing but the table goes on.

For owners of the table with INSERT and DELETE on tracking and tracked_table, and UPDATE on contact_reject where the table was renamed.

Raises 42809 for what is no table of an application, 22023 for a bad argument,
22001 for a source over 1000 bytes,
55000 where the source has the keys of another table, which was dropped or renamed, or another table that was renamed has the code of this one, or a partition of the table or what it is a partition of is tracked,
and what check_tracking() raises.';

CREATE FUNCTION omnichannel.track(relation regclass) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kept record;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT mapping.*, coalesce(m.source, mapping.source) AS known_as, EXISTS (
			SELECT FROM pg_trigger AS g
			WHERE g.tgrelid = mapping.relation AND g.tgfoid = 'omnichannel.log_contact_trigger()'::regprocedure AND g.tgenabled IN ('A', 'R')
		) AS on_replica
	INTO kept
	FROM omnichannel.tracking AS mapping
	LEFT JOIN omnichannel.tracked_table AS m ON m.tracking = mapping.tracking AND m.relation = track.relation AND m.partition
	WHERE mapping.relation = track.relation OR m.relation = track.relation
	ORDER BY mapping.relation = track.relation DESC, m.tracked_at DESC
	LIMIT 1;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'nobody knows how table "%" was tracked', coalesce(track.relation::text, 'NULL')
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = format('Say what its columns mean, as in track(%L, channel => ''email'', ...).', coalesce(track.relation::text, 'mail'));
	END IF;
	RETURN omnichannel.track(track.relation, kept.channel, kept.customer, kept.kind, kept.direction, kept.outcome, kept.occurred_at, kept.agent,
		kept.request, kept.thread, kept.subject, kept.body, kept.payload, kept.known_as, coalesce(kept.source_key, ''), kept.recipient, kept.value_maps,
		kept.time_zone, kept.on_error, kept.updates, kept.on_replica);
END
$$;
COMMENT ON FUNCTION omnichannel.track(regclass) IS
'Tracks a table as it is tracked already, as when its triggers were dropped or disabled, or, once it is detached, as the partitioned table that it was a partition of, under the same source: backfill() then logs what was written to it meanwhile, and nothing twice. Returns the code of the tracking. Raises 55000 for a table whose mapping nobody knows, and for one that is a partition still, and what track() with a mapping raises.';

CREATE FUNCTION omnichannel.drop_tracking_triggers(relation regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	trigger_name name;
BEGIN
	FOR trigger_name IN
		SELECT tgname FROM pg_trigger
		WHERE tgrelid = drop_tracking_triggers.relation AND tgparentid = 0
			AND tgfoid = 'omnichannel.log_contact_trigger()'::regprocedure
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, drop_tracking_triggers.relation);
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.drop_tracking_triggers(regclass) IS
'Drops the triggers that log a table''s rows. For owners of the table.';

CREATE FUNCTION omnichannel.untrack(relation regclass) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	IF untrack.relation IS NULL THEN
		RAISE EXCEPTION 'the relation must not be NULL'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name a tracked table, as in untrack(''calls'').';
	END IF;
	PERFORM omnichannel.drop_tracking_triggers(untrack.relation);
	DELETE FROM omnichannel.tracked_table AS noticed WHERE noticed.relation = untrack.relation AND noticed.partition;
	DELETE FROM omnichannel.tracking AS tracking WHERE tracking.relation = untrack.relation;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION omnichannel.untrack(regclass) IS
'No longer logs the rows of a table; what is logged stays, and so does the memory of its source. A detached partition is no longer listed as such. Returns whether the table was tracked. For owners of the table with DELETE on tracking and tracked_table. Raises 22023 for NULL, 55000 before setup().';

CREATE FUNCTION omnichannel.log_tracked_row(tracking text, data record, live boolean DEFAULT true, updated boolean DEFAULT false, source text DEFAULT '') RETURNS boolean
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_log_tracked_row';
COMMENT ON FUNCTION omnichannel.log_tracked_row(text, record, boolean, boolean, text) IS
'Logs one row of a tracked table as its trigger would, with the caller''s rights on the log and those of the table''s owner for reading the row, and returns whether it was not logged before, or revised its contact where the tracking has updates. live: with effects on requests. updated: as the trigger for UPDATE would. source: whose key it is, by default that of the tracking. Raises what the trigger raises, 42704 for a tracking that does not exist, 42P01 where its table is gone, 42804 for a record of another type.';

CREATE FUNCTION omnichannel.backfill_tracking(tracking text) RETURNS bigint
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'omnichannel_backfill';
COMMENT ON FUNCTION omnichannel.backfill_tracking(text) IS
'What backfill() does, by the code of the tracking.';

CREATE FUNCTION omnichannel.backfill(relation regclass) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found_tracking record;
BEGIN
	PERFORM omnichannel.require_setup();
	IF backfill.relation IS NULL THEN
		RAISE EXCEPTION 'the relation must not be NULL'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Name a tracked table, as in backfill(''calls'').';
	END IF;
	SELECT * INTO found_tracking FROM omnichannel.tracking AS tracking WHERE tracking.relation = backfill.relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'table "%" is not tracked', backfill.relation
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call track() first; what it logs meanwhile is not logged twice.';
	END IF;
	IF found_tracking.source_key IS NULL THEN
		RAISE EXCEPTION 'rows of table "%" have no key', backfill.relation
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Call track() with a source_key: without it nobody can tell what is logged already.';
	END IF;
	IF found_tracking.occurred_at IS NULL THEN
		RAISE EXCEPTION 'rows of table "%" have no time', backfill.relation
			USING ERRCODE = 'object_not_in_prerequisite_state',
				HINT = 'Call track() with occurred_at: without it the past would seem to be now.';
	END IF;
	RETURN omnichannel.backfill_tracking(found_tracking.tracking);
END
$$;
COMMENT ON FUNCTION omnichannel.backfill(regclass) IS
'Logs the rows that a tracked table had before, and returns how many were not logged yet: history, with no effect on requests and clocks. Can be repeated, and run while the table is written to. Rows of customers who were erased are left out. For callers who may read all of the table''s rows, with their rights on the log; what comes with the table, as casts, domains and output functions, runs with the rights of its owner. Raises 55000 for a table that is not tracked, or tracked without source_key or occurred_at, 22023 for NULL, 42501 for callers without the rights, also by row-level security, 42809 where the table has become a view, and what the trigger raises for a row.';
