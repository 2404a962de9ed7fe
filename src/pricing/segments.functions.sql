CREATE FUNCTION omnichannel.check_segment_rule(rule text) RETURNS void
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'omnichannel_check_segment_rule';
COMMENT ON FUNCTION omnichannel.check_segment_rule(text) IS
'Returns nothing where the text can be a segment''s rule: one expression, true or false, over the columns of segment_input, of plain values (texts, numbers, times, booleans, jsonb, arrays and ranges of them), PostgreSQL''s own operators on them, CASE, and calls of the functions that the error lists: of those that only compute; with nothing nested in it that could make values of more than 100 MB out of little, as replace() in replace() can. It is not tried: what it raises for a customer, as a division by zero, refresh_segments() tells. Raises 22023 otherwise, 42601 for a syntax error, 42703 for an unknown column, 55000 before setup().';

CREATE FUNCTION omnichannel.check_segment() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.check_segment_rule(NEW.rule);
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION omnichannel.check_segment() IS
'Trigger function of segment: raises what check_segment_rule() raises.';

CREATE FUNCTION omnichannel.refresh_segments(segment text DEFAULT NULL, OUT refreshed text, OUT joined bigint, OUT gone bigint, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
-- A rule means the same whoever has it applied.
SET datestyle = 'ISO, YMD'
SET intervalstyle = 'postgres'
SET extra_float_digits = 1
SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
	ruled record;
BEGIN
	PERFORM omnichannel.require_setup();
	-- Until the function ends, as it sets the zone itself.
	PERFORM set_config('timezone', omnichannel.default_time_zone(), true);
	IF refresh_segments.segment IS NOT NULL AND NOT EXISTS (SELECT FROM omnichannel.segment AS known WHERE known.segment = refresh_segments.segment) THEN
		RAISE EXCEPTION 'segment "%" is not known', refresh_segments.segment
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a code of omnichannel.segment.';
	END IF;
	PERFORM FROM omnichannel.segment AS known WHERE known.segment = refresh_segments.segment FOR NO KEY UPDATE;
	-- What another session is refreshing, or has refreshed since this transaction began, is as good as done.
	FOR ruled IN SELECT known.segment, known.rule FROM omnichannel.segment AS known
		WHERE known.rule IS NOT NULL AND (refresh_segments.segment IS NULL OR known.segment = refresh_segments.segment)
			AND coalesce(known.refreshed_at <= now(), true)
		ORDER BY known.segment FOR NO KEY UPDATE SKIP LOCKED
	LOOP
		refreshed := ruled.segment;
		joined := NULL;
		gone := NULL;
		error := NULL;
		BEGIN
			-- Checked again: what a function or a column means may have changed since it was written.
			PERFORM omnichannel.check_segment_rule(ruled.rule);
			EXECUTE format('DELETE FROM omnichannel.segment_member AS member WHERE member.segment = $1 AND lower(member.valid) = now() '
				'AND NOT EXISTS (SELECT FROM omnichannel.segment_input AS customer WHERE customer.customer_id = member.customer_id AND (%s))',
				ruled.rule || E'\n') USING ruled.segment;
			EXECUTE format('UPDATE omnichannel.segment_member AS member SET valid = tstzrange(lower(member.valid), now()) '
				'WHERE member.segment = $1 AND member.valid @> now() '
				'AND NOT EXISTS (SELECT FROM omnichannel.segment_input AS customer WHERE customer.customer_id = member.customer_id AND (%s))',
				ruled.rule || E'\n') USING ruled.segment;
			GET DIAGNOSTICS gone = ROW_COUNT;
			EXECUTE format('INSERT INTO omnichannel.segment_member (customer_id, segment, valid) '
				'SELECT customer.customer_id, $1, tstzrange(now(), (SELECT min(lower(later.valid)) FROM omnichannel.segment_member AS later '
				'WHERE later.customer_id = customer.customer_id AND later.segment = $1 AND lower(later.valid) > now())) '
				'FROM omnichannel.segment_input AS customer WHERE (%s) '
				'AND NOT EXISTS (SELECT FROM omnichannel.segment_member AS member WHERE member.customer_id = customer.customer_id '
				'AND member.segment = $1 AND member.valid @> now())',
				ruled.rule || E'\n') USING ruled.segment;
			GET DIAGNOSTICS joined = ROW_COUNT;
		EXCEPTION WHEN OTHERS THEN
			-- One rule that fails holds up no other; what may go well when it is tried again is for the caller to try.
			IF refresh_segments.segment IS NOT NULL OR left(SQLSTATE, 2) IN ('40', '53', '55', '57') THEN
				RAISE;
			END IF;
			joined := NULL;
			gone := NULL;
			error := format('%s: %s', SQLSTATE, SQLERRM);
		END;
		UPDATE omnichannel.segment AS known
		SET refreshed_at = CASE WHEN refresh_segments.error IS NULL THEN now() ELSE known.refreshed_at END, refresh_error = refresh_segments.error
		WHERE known.segment = ruled.segment;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION omnichannel.refresh_segments(text) IS
'Applies the rules of segments, of one or of all: who fits joins now, who no longer does leaves now, and only they are written. A rule is read in the company''s time zone and with dates as in ISO 8601, whoever has it applied. What another session is refreshing, or has refreshed since the transaction began, is left to it. Returns a row for each segment with how many joined and left. Where all are refreshed, a rule that fails leaves its members as they are and is told in error, and in segment.refresh_error. Raises 23503 for an unknown segment, 55000 before setup(), and of a single one what check_segment_rule() and the rule itself raise.';
