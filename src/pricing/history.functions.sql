CREATE FUNCTION omnichannel.write_prices() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_write_prices';
COMMENT ON FUNCTION omnichannel.write_prices() IS
'Trigger function of price and price_list: calls the trigger function that its argument names, whose writes are then the extension''s own. Raises 39P01 elsewhere.';

CREATE FUNCTION omnichannel.writes_prices() RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'omnichannel_writes_prices';
COMMENT ON FUNCTION omnichannel.writes_prices() IS
'Whether triggers of price write what a price was until now, or the rows of derived lists.';

CREATE FUNCTION omnichannel.lock_prices() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_lock_prices';
COMMENT ON FUNCTION omnichannel.lock_prices() IS
'Trigger function of price_list, called before any of its rows is locked: locks price as those who write prices do, and where a list is derived anew against them, until the transaction ends. Raises 39P01 elsewhere.';

CREATE FUNCTION omnichannel.past_of(at timestamptz, valid tstzrange, active tstzmultirange DEFAULT '{(,)}') RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.tstzmultirange(valid OPERATOR(pg_catalog.*) pg_catalog.tstzrange(NULL, at)) OPERATOR(pg_catalog.*) active;
COMMENT ON FUNCTION omnichannel.past_of(timestamptz, tstzrange, tstzmultirange) IS
'The part of a row''s time that lies before a moment.';

CREATE FUNCTION omnichannel.keeps_past(former tstzrange, changed tstzrange) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	RETURN coalesce(lower(changed) >= now() AND lower(changed) <= clock_timestamp() AND former @> lower(changed)
		AND lower(former) IS DISTINCT FROM lower(changed) AND upper(former) IS NOT DISTINCT FROM upper(changed), false);
END
$$;
COMMENT ON FUNCTION omnichannel.keeps_past(tstzrange, tstzrange) IS
'Whether a price in force was changed from now on: derive_prices() then keeps what it was before.';

CREATE FUNCTION omnichannel.note_correction_as_owner() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before jsonb;
	after jsonb;
BEGIN
	-- Before anything looks at the row: types of other tables may bring code along.
	IF TG_TABLE_SCHEMA <> 'omnichannel' THEN
		RAISE EXCEPTION 'function "note_correction" is for the extension''s own triggers'
			USING ERRCODE = 'trigger_protocol_violated', HINT = 'Use a function of your own.';
	END IF;
	before := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
	after := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
	IF TG_TABLE_NAME = 'price' AND TG_OP = 'INSERT' THEN
		IF NOT EXISTS (SELECT FROM omnichannel.price_list AS list WHERE list.price_list = NEW.price_list
			AND omnichannel.past_of(now(), list.valid, list.active) && NEW.valid)
		THEN
			RETURN NULL;
		END IF;
	END IF;
	IF TG_NARGS > 1 THEN
		before := (SELECT jsonb_object_agg(noted.name, before -> noted.name) FROM unnest(TG_ARGV[1]::text[]) AS noted (name) WHERE before IS NOT NULL);
		after := (SELECT jsonb_object_agg(noted.name, after -> noted.name) FROM unnest(TG_ARGV[1]::text[]) AS noted (name) WHERE after IS NOT NULL);
	END IF;
	INSERT INTO omnichannel.price_correction (relation, key, before, after)
	VALUES (TG_TABLE_NAME, coalesce(before, after) ->> TG_ARGV[0], before, after);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.note_correction_as_owner() IS
'Does the work of note_correction(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.note_correction() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_trigger_as_owner';
COMMENT ON FUNCTION omnichannel.note_correction() IS
'Trigger function of each table that prices follow from, called where the past answers otherwise from here on: notes the row before and after in price_correction, with the rights of the tables'' owner. Its arguments are the column that says which row, and the columns to note where not all are. Raises 39P01 elsewhere.';

CREATE FUNCTION omnichannel.note_truncation() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- What this transaction has let begin itself nobody else has seen.
	EXECUTE format('INSERT INTO omnichannel.price_correction (relation, key, before) '
		'SELECT $1, gone.body ->> $2, gone.body FROM (SELECT to_jsonb(emptied) AS body FROM %s AS emptied) AS gone '
		'WHERE NOT isempty(omnichannel.past_of(clock_timestamp(), coalesce((gone.body ->> ''valid'')::tstzrange, tstzrange(NULL, NULL)), '
		'coalesce((gone.body ->> ''active'')::tstzmultirange, ''{(,)}'')) - CASE WHEN lower((gone.body ->> ''valid'')::tstzrange) = now() THEN ''{(,)}'' ELSE ''{}'' END::tstzmultirange)',
		TG_RELID::regclass)
	USING TG_TABLE_NAME, TG_ARGV[0];
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.note_truncation() IS
'Trigger function of the same tables, before TRUNCATE: notes in price_correction each row that past answers follow from.';

CREATE FUNCTION omnichannel.refuse_overtaken() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_TABLE_NAME = 'price' AND TG_OP = 'UPDATE' THEN
		IF omnichannel.writes_prices() OR omnichannel.keeps_past(OLD.valid, NEW.valid) THEN
			RETURN NULL;
		END IF;
	END IF;
	-- What this transaction has made nobody else has seen, and a name is no part of a price.
	IF (to_jsonb(OLD) ->> 'created_at')::timestamptz = now() THEN
		RETURN NULL;
	ELSIF TG_OP = 'UPDATE' AND to_jsonb(OLD) - 'name' = to_jsonb(NEW) - 'name' THEN
		RETURN NULL;
	END IF;
	RAISE EXCEPTION 'a row of % changed after this transaction began: %', TG_TABLE_NAME, to_jsonb(OLD) ->> TG_ARGV[0]
		USING ERRCODE = 'serialization_failure',
			DETAIL = format('A change counts from the start of its transaction, %s, and would deny what was answered since.', now()),
			HINT = 'Begin the transaction again.';
END
$$;
COMMENT ON FUNCTION omnichannel.refuse_overtaken() IS
'Trigger function of tables whose rows have a time: raises 40001 where a row began or ended after the transaction began that changes it, unless that made it itself or changes but its name. Its argument is the column that says which row.';

CREATE FUNCTION omnichannel.refuse_derived() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	list text;
BEGIN
	IF TG_OP = 'INSERT' THEN
		list := NEW.price_list;
	ELSIF TG_OP = 'UPDATE' AND (NEW.source_price IS NOT NULL AND NEW.source_price IS DISTINCT FROM OLD.source_price) THEN
		list := NEW.price_list;
	ELSE
		-- With its source a price goes as well, and one of a list that is derived no more is like any other.
		SELECT derived.price_list INTO list FROM omnichannel.price_list AS derived
		WHERE derived.price_list = OLD.price_list AND derived.derived_from IS NOT NULL
			AND EXISTS (SELECT FROM omnichannel.price AS source WHERE source.price_id = OLD.source_price);
	END IF;
	IF list IS NOT NULL THEN
		RAISE EXCEPTION 'prices that are derived from another price are not written by hand, as in price list "%"', list
			USING ERRCODE = 'check_violation',
				HINT = 'Change the list that it is derived from, or set derived_from, derived_adjust, derived_surcharge and derived_round_to to NULL first.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.refuse_derived() IS
'Trigger function of price: raises 23514 for a row of a derived list that anything but the extension''s own triggers writes.';

CREATE FUNCTION omnichannel.note_change_as_owner() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	moment timestamptz := now();
BEGIN
	IF TG_TABLE_SCHEMA <> 'omnichannel' THEN
		RAISE EXCEPTION 'function "note_change" is for the extension''s own triggers'
			USING ERRCODE = 'trigger_protocol_violated', HINT = 'Use a function of your own.';
	END IF;
	IF TG_TABLE_NAME = 'promotion_use' THEN
		IF NOT EXISTS (SELECT FROM omnichannel.promotion AS limited WHERE limited.promotion = NEW.promotion AND limited.customer_limit IS NOT NULL AND NEW.customer_id IS NOT NULL)
			AND NOT EXISTS (SELECT FROM omnichannel.coupon AS given WHERE given.coupon = NEW.coupon AND given.use_limit IS NOT NULL)
		THEN
			RETURN NULL;
		END IF;
		INSERT INTO omnichannel.price_change (changed_at, of_uses) VALUES (coalesce(NEW.released_at, NEW.reserved_at), true) ON CONFLICT DO NOTHING;
	ELSE
		IF TG_TABLE_NAME = 'price' AND TG_LEVEL = 'ROW' THEN
			moment := lower(NEW.valid);
		ELSIF TG_TABLE_NAME = 'promotion_used_up' AND TG_OP = 'UPDATE' THEN
			moment := greatest(NEW.until, now());
		END IF;
		INSERT INTO omnichannel.price_change AS change (changed_at) VALUES (moment)
		ON CONFLICT ON CONSTRAINT price_change_pkey DO UPDATE SET of_uses = false WHERE change.of_uses;
	END IF;
	IF TG_LEVEL = 'ROW' THEN
		RETURN coalesce(NEW, OLD);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.note_change_as_owner() IS
'Does the work of note_change(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.note_change() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_note_change';
COMMENT ON FUNCTION omnichannel.note_change() IS
'Trigger function of tables whose rows have a time: notes in price_change that this transaction changes them, and at its end the moment, with the rights of the tables'' owner; of uses of promotions those that count for a customer''s limit or a coupon''s. Raises 39P01 elsewhere.';

CREATE FUNCTION omnichannel.former_groups(customer_id bigint, at timestamptz) RETURNS SETOF bigint[]
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	known bigint[];
	former bigint[];
	earlier bigint[];
	members bigint[];
	found_ones bigint[];
	moments timestamptz[];
BEGIN
	PERFORM omnichannel.require_setup();
	IF former_groups.customer_id IS NULL THEN
		RETURN;
	END IF;
	known := ARRAY(SELECT member FROM unnest(omnichannel.customer_group(former_groups.customer_id)) AS member ORDER BY 1);
	former := omnichannel.customer_group_at(former_groups.customer_id, former_groups.at);
	IF former <> known THEN
		RETURN NEXT former;
	END IF;
	-- A merge counts from the start of its transaction, and others see it from its commit on: when that was is not recorded.
	-- Whoever was one with any of them within the minute may have had others by the one merge and not yet by the next.
	members := known || former;
	LOOP
		moments := ARRAY(
			SELECT DISTINCT change.at - interval '1 microsecond'
			FROM omnichannel.customer_merge AS merge CROSS JOIN LATERAL (VALUES (merge.merged_at), (merge.unmerged_at)) AS change (at)
			WHERE (merge.kept_id = ANY (members) OR merge.duplicate_id = ANY (members))
				AND change.at > former_groups.at - interval '1 minute' AND change.at <= former_groups.at);
		found_ones := ARRAY(
			SELECT DISTINCT one.member
			FROM unnest(moments) AS moment (at) CROSS JOIN LATERAL unnest(omnichannel.customer_group_at(former_groups.customer_id, moment.at)) AS one (member));
		EXIT WHEN found_ones <@ members;
		members := members || found_ones;
	END LOOP;
	FOR earlier IN
		SELECT DISTINCT omnichannel.customer_group_at(former_groups.customer_id, moment.at) FROM unnest(moments) AS moment (at) ORDER BY 1
	LOOP
		IF earlier <> former THEN
			RETURN NEXT earlier;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.former_groups(bigint, timestamptz) IS
'The ids under which a customer was on record at a moment, as quote_unseen() takes them, where they are others than now, and where they changed within the minute before, also those of before. Raises 23503 for an unknown customer, 55000 before setup().';

CREATE FUNCTION omnichannel.unseen_changes(at timestamptz, customer_id bigint DEFAULT NULL, coupons text[] DEFAULT '{}') RETURNS SETOF timestamptz[]
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	moments timestamptz[];
	places integer[];
	changes integer;
	-- A second for what a commit takes after its moment is noted.
	asked tstzrange := tstzrange(unseen_changes.at - interval '1 second', unseen_changes.at, '[]');
	members bigint[];
BEGIN
	PERFORM omnichannel.require_setup();
	-- Those who were one with the customer then, too.
	IF unseen_changes.customer_id IS NOT NULL THEN
		members := omnichannel.customer_group(unseen_changes.customer_id) || ARRAY(
			SELECT unnest(one.former) FROM omnichannel.former_groups(unseen_changes.customer_id, unseen_changes.at) AS one (former));
	END IF;
	-- Those seen last were hidden first; what one transaction changed, all together.
	SELECT coalesce(array_agg(found.changed_at ORDER BY found.place, found.changed_at), '{}'), coalesce(array_agg(found.place ORDER BY found.place, found.changed_at), '{}'),
		coalesce(max(found.place), 0)
	INTO moments, places, changes
	FROM (
		SELECT change.changed_at, dense_rank() OVER (ORDER BY coalesce(change.seen_at, 'infinity') DESC, change.began_at, change.transaction)::integer AS place
		FROM (
			SELECT DISTINCT noted.changed_at, noted.transaction, max(noted.seen_at) OVER same AS seen_at, min(noted.changed_at) OVER same AS began_at
			FROM (
				SELECT * FROM omnichannel.price_change AS general WHERE NOT general.of_uses AND tstzrange(general.changed_at, general.seen_at) && asked
				UNION ALL
				SELECT own.*
				FROM omnichannel.promotion_use AS used, unnest(ARRAY[used.reserved_at, used.released_at]) AS moment
					JOIN omnichannel.price_change AS own ON own.changed_at = moment
				WHERE (used.customer_id = ANY (members) OR used.coupon = ANY (unseen_changes.coupons)) AND own.of_uses AND tstzrange(own.changed_at, own.seen_at) && asked
			) AS noted
			WHERE noted.changed_at <= unseen_changes.at
			WINDOW same AS (PARTITION BY noted.transaction)
		) AS change
	) AS found;
	-- Which of them were hidden is not known to the moment: of a few each choice is tried, of many those that the order
	-- makes likely.
	IF changes <= 6 THEN
		RETURN QUERY SELECT ARRAY(SELECT change.moment FROM unnest(moments, places) AS change (moment, place) WHERE choice >> (change.place - 1) & 1 = 1)
		FROM generate_series(1, (1 << changes) - 1) AS choice;
	ELSE
		RETURN QUERY SELECT DISTINCT ARRAY(SELECT change.moment FROM unnest(moments, places) AS change (moment, place)
			WHERE (change.place <= hidden) <> (change.place = but))
		FROM generate_series(0, 12) AS hidden, generate_series(0, 12) AS but
		WHERE hidden + but > 0;
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.unseen_changes(timestamptz, bigint, text[]) IS
'For a moment at which changes of prices, or uses of promotions by this customer or with these coupons, were under way, which not everybody could see yet and which count from before it: which of them may not have been seen together, by the moments from which they count, as quote_unseen() takes them; none otherwise. The moment at which a commit is seen is not known better than to a second, which is allowed for; where commits wait for standbys longer, changes may be missing. Raises 55000 before setup().';
