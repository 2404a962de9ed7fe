CREATE FUNCTION omnichannel.keep_promotion_total() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' THEN
		PERFORM omnichannel.require_read_committed(format('a change of the limits of promotion "%s"', NEW.promotion),
			'Make it in a READ COMMITTED transaction: uses that others have just committed count, and an older snapshot does not see them.');
	END IF;
	-- Waits for the uses under way, which are not summed yet, and holds up new ones until this commits.
	PERFORM pg_advisory_xact_lock('omnichannel.promotion_use'::regclass::oid::integer, hashtext(NEW.promotion));
	IF NEW.use_limit IS NULL AND NEW.budget IS NULL THEN
		DELETE FROM omnichannel.promotion_total WHERE promotion_total.promotion = NEW.promotion;
	ELSE
		INSERT INTO omnichannel.promotion_total (promotion, uses, spent)
		SELECT NEW.promotion, count(*), coalesce(sum(use.amount), 0) FROM omnichannel.promotion_use AS use
		WHERE use.promotion = NEW.promotion AND use.state <> 'released'
		ON CONFLICT (promotion) DO UPDATE SET uses = excluded.uses, spent = excluded.spent;
	END IF;
	PERFORM omnichannel.note_used_up(NEW.promotion);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.keep_promotion_total() IS
'Trigger function of promotion: begins to keep its sums where it gets a limit. Raises 55000 above READ COMMITTED where the promotion is not new.';

CREATE FUNCTION omnichannel.note_used_up(promotion text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	used_up boolean;
BEGIN
	PERFORM omnichannel.require_setup();
	SELECT coalesce(total.uses >= limited.use_limit, false) OR coalesce(total.spent >= limited.budget, false) INTO used_up
	FROM omnichannel.promotion AS limited JOIN omnichannel.promotion_total AS total ON total.promotion = limited.promotion
	WHERE limited.promotion = note_used_up.promotion;
	IF used_up THEN
		INSERT INTO omnichannel.promotion_used_up (promotion, since)
		SELECT note_used_up.promotion, now()
		WHERE NOT EXISTS (SELECT FROM omnichannel.promotion_used_up AS noted WHERE noted.promotion = note_used_up.promotion AND noted.until IS NULL)
		ON CONFLICT ON CONSTRAINT promotion_used_up_pkey DO UPDATE SET until = NULL;
	ELSE
		DELETE FROM omnichannel.promotion_used_up AS noted
		WHERE noted.promotion = note_used_up.promotion AND noted.until IS NULL AND noted.since = now();
		-- What others have answered since it was used up stays so, also where this transaction is the older one.
		UPDATE omnichannel.promotion_used_up AS noted SET until = omnichannel.change_moment(noted.since)
		WHERE noted.promotion = note_used_up.promotion AND noted.until IS NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION omnichannel.note_used_up(text) IS
'Keeps promotion_used_up in step with promotion_total; called by reserve_use() and release_use(). Raises 55000 before setup().';

CREATE FUNCTION omnichannel.lock_promotion_uses(promotion text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_read_committed(format('a use of promotion "%s"', promotion),
		'Use READ COMMITTED: uses that others have just committed count, and an older snapshot does not see them.');
	PERFORM pg_advisory_xact_lock_shared('omnichannel.promotion_use'::regclass::oid::integer, hashtext(lock_promotion_uses.promotion));
END
$$;
COMMENT ON FUNCTION omnichannel.lock_promotion_uses(text) IS
'Held until the end of the transaction by all who reserve or release uses of a promotion, together; whoever sets a limit takes it alone: see keep_promotion_total(). Raises 55000 above READ COMMITTED and before setup().';

CREATE FUNCTION omnichannel.wait_for_uses(promotion text, coupon text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	PERFORM FROM omnichannel.coupon AS given WHERE given.coupon = wait_for_uses.coupon FOR NO KEY UPDATE;
	PERFORM FROM omnichannel.promotion_total AS total WHERE total.promotion = wait_for_uses.promotion FOR NO KEY UPDATE;
	RAISE EXCEPTION USING ERRCODE = 'OC001';
EXCEPTION WHEN SQLSTATE 'OC001' THEN
	-- The locks are gone with it: to hold them while the key is claimed could lock up.
	RETURN;
END
$$;
COMMENT ON FUNCTION omnichannel.wait_for_uses(text, text) IS
'Called by reserve_use(): returns nothing once those who change the sums of a promotion and its coupon have ended. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.reserve_use_as_owner(promotion text, key text, customer_id bigint, amount numeric,
	coupon text, hold interval) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	limited record;
	code text := upper(btrim(coupon));
	customers bigint[] := '{}'::bigint[];
	reserved record;
BEGIN
	PERFORM omnichannel.require_setup();
	IF key IS NULL OR key = '' OR amount IS NULL OR NOT (amount >= 0 AND amount < 1e18) OR hold IS NULL
		OR NOT (hold > interval '0' AND hold <= interval '10 years')
	THEN
		RAISE EXCEPTION 'key %, amount % and hold % do not make a reservation', coalesce(quote_literal(key), 'NULL'),
			coalesce(amount::text, 'NULL'), coalesce(hold::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'The key is not empty, the amount not below zero, and hold above it and at most ten years.';
	END IF;
	-- Before anything is read, so that no limit is set meanwhile.
	PERFORM omnichannel.lock_promotion_uses(promotion);
	SELECT limits.use_limit, limits.customer_limit, limits.budget, limits.needs_coupon, limits.status = 'active' AND limits.valid @> now() AS holds
	INTO limited FROM omnichannel.promotion AS limits WHERE limits.promotion = reserve_use_as_owner.promotion;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'promotion % is not known', coalesce(quote_literal(promotion), 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a code of omnichannel.promotion.';
	END IF;
	IF code IS NOT NULL AND NOT EXISTS (SELECT FROM omnichannel.coupon AS given WHERE given.coupon = code AND given.promotion = reserve_use_as_owner.promotion) THEN
		RAISE EXCEPTION 'coupon "%" does not open promotion "%"', code, promotion
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a code of omnichannel.coupon.';
	END IF;
	IF limited.needs_coupon AND code IS NULL THEN
		RAISE EXCEPTION 'promotion "%" needs a coupon', promotion
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the code that the customer gave.';
	END IF;
	IF limited.customer_limit IS NOT NULL AND customer_id IS NULL THEN
		RAISE EXCEPTION 'promotion "%" has a limit for each customer', promotion
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass customer_id.';
	END IF;
	IF customer_id IS NOT NULL THEN
		PERFORM omnichannel.require_customer(customer_id);
		customers := omnichannel.customer_group(customer_id);
	END IF;

	SELECT use.state, use.customer_id, use.amount, use.coupon INTO reserved FROM omnichannel.promotion_use AS use
	WHERE use.key = reserve_use_as_owner.key AND use.promotion = reserve_use_as_owner.promotion AND use.former = 0;
	IF reserved.state <> 'released' THEN
		IF NOT (reserved.customer_id IS NULL AND customer_id IS NULL OR coalesce(reserved.customer_id = ANY (customers), false))
			OR reserved.amount <> amount OR reserved.coupon IS DISTINCT FROM code
		THEN
			RAISE EXCEPTION 'key "%" belongs to another use of promotion "%"', key, promotion
				USING ERRCODE = 'unique_violation', HINT = 'Use one key for one order: customer, amount and coupon stay the same.';
		END IF;
		RETURN true;
	END IF;
	IF NOT limited.holds THEN
		RETURN false;
	END IF;

	FOR attempt IN 1 .. 2
	LOOP
		BEGIN
			IF reserved.state = 'released' THEN
				-- What it held counts on for those who ask about that time. Of two at once the second finds nothing here.
				UPDATE omnichannel.promotion_use AS use
				SET former = 1 + (SELECT max(old.former) FROM omnichannel.promotion_use AS old WHERE old.key = use.key AND old.promotion = use.promotion)
				WHERE use.key = reserve_use_as_owner.key AND use.promotion = reserve_use_as_owner.promotion AND use.former = 0 AND use.state = 'released';
			END IF;
			INSERT INTO omnichannel.promotion_use AS use (key, promotion, customer_id, coupon, amount, expires_at)
			VALUES (key, promotion, customer_id, code, amount, now() + hold)
			ON CONFLICT ON CONSTRAINT promotion_use_pkey DO NOTHING;
			IF NOT FOUND THEN
				-- Another session has just reserved it under the same key, perhaps for something else.
				RETURN omnichannel.reserve_use(promotion, key, customer_id, amount, coupon, hold);
			END IF;
			IF limited.customer_limit IS NOT NULL THEN
				-- One reservation of a customer at a time, so that the count is exact; of each who is one with this customer,
				-- because what began before they were merged has one of them alone.
				PERFORM pg_advisory_xact_lock(hashtextextended(promotion, one.customer_id))
				FROM (SELECT merged.customer_id FROM unnest(customers) AS merged (customer_id) ORDER BY merged.customer_id OFFSET 0) AS one;
				IF (SELECT count(*) FROM omnichannel.promotion_use AS use WHERE use.customer_id = ANY (customers)
					AND use.promotion = reserve_use_as_owner.promotion AND use.state <> 'released') > limited.customer_limit THEN
					RAISE EXCEPTION USING ERRCODE = 'OC001';
				END IF;
			END IF;
			IF code IS NOT NULL THEN
				UPDATE omnichannel.coupon AS given SET uses = given.uses + 1
				WHERE given.coupon = code AND (given.use_limit IS NULL OR given.uses < given.use_limit) AND given.valid @> now()
					AND (given.customer_id IS NULL OR given.customer_id = ANY (customers));
				IF NOT FOUND THEN
					RAISE EXCEPTION USING ERRCODE = 'OC001';
				END IF;
			END IF;
			IF limited.use_limit IS NOT NULL OR limited.budget IS NOT NULL THEN
				UPDATE omnichannel.promotion_total AS total SET uses = total.uses + 1, spent = total.spent + reserve_use_as_owner.amount
				WHERE total.promotion = reserve_use_as_owner.promotion AND (limited.use_limit IS NULL OR total.uses < limited.use_limit)
					AND (limited.budget IS NULL OR total.spent < limited.budget AND total.spent + reserve_use_as_owner.amount <= limited.budget);
				IF NOT FOUND THEN
					RAISE EXCEPTION USING ERRCODE = 'OC001';
				END IF;
				PERFORM omnichannel.note_used_up(promotion)
				FROM omnichannel.promotion_total AS total WHERE total.promotion = reserve_use_as_owner.promotion
					AND (total.uses >= limited.use_limit OR total.spent >= limited.budget);
			END IF;
			RETURN true;
		EXCEPTION WHEN SQLSTATE 'OC001' THEN
			EXIT WHEN attempt = 2;
			-- Nothing is left. What others are giving back just now is waited for, and what they have forgotten comes back.
			PERFORM omnichannel.wait_for_uses(promotion, code);
			PERFORM omnichannel.expire_uses(promotion);
		END;
	END LOOP;
	RETURN false;
END
$$;
COMMENT ON FUNCTION omnichannel.reserve_use_as_owner(text, text, bigint, numeric, text, interval) IS
'Does the work of reserve_use(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.reserve_use(promotion text, key text, customer_id bigint DEFAULT NULL, amount numeric DEFAULT 0,
	coupon text DEFAULT NULL, hold interval DEFAULT '30 minutes') RETURNS boolean
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_use_as_owner';
COMMENT ON FUNCTION omnichannel.reserve_use(text, text, bigint, numeric, text, interval) IS
'Reserves one use of a promotion: true where its limits, its budget and the coupon allowed it, false where nothing is left or it does not hold now.

Exact under concurrency: sessions that compete for the last uses wait for one another.

key is the application''s own, as the number of the order: the same key and promotion count once however often they are sent.
Uses of customers who were merged count together.
amount is what the promotion gives away, in its currency.
A reservation is released after hold unless commit_use() comes before; the same key may reserve again then, and what it held before still counts for those who ask about that time.
Reserve several promotions in the order of their codes.

Raises 23503 for an unknown promotion, customer or coupon,
22023 for an empty key, a negative amount, a missing coupon, or no customer where there is a limit for each,
22001 for a key over 500 bytes,
42501 for who may not read promotion_use, with the rights of whose owner it works,
23505 for a key that has reserved for another customer, amount or coupon,
55000 for a customer who was erased, above READ COMMITTED, and before setup().';

CREATE FUNCTION omnichannel.commit_use_as_owner(key text) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	reserved boolean;
	lost text;
	committed integer;
BEGIN
	PERFORM omnichannel.require_setup();
	-- What was waited for may hold no more, while the same key has reserved again: another statement sees that. Where
	-- policies hide rows from those who would change them, none does.
	FOR attempt IN 1 .. 10 LOOP
		PERFORM FROM omnichannel.promotion_use AS use WHERE use.key = commit_use_as_owner.key AND use.former = 0 ORDER BY use.promotion FOR UPDATE;
		reserved := FOUND;
		EXIT WHEN reserved OR NOT EXISTS (SELECT FROM omnichannel.promotion_use AS use WHERE use.key = commit_use_as_owner.key AND use.former = 0);
	END LOOP;
	IF NOT reserved THEN
		RAISE EXCEPTION 'nothing is reserved under key %', coalesce(quote_literal(key), 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'Call reserve_use() first.';
	END IF;
	SELECT use.promotion INTO lost FROM omnichannel.promotion_use AS use
	WHERE use.key = commit_use_as_owner.key AND use.former = 0 AND use.state = 'released' ORDER BY use.promotion LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'the use of promotion "%" under key "%" was released', lost, key
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Its time was over. Call reserve_use() again.';
	END IF;
	UPDATE omnichannel.promotion_use AS use SET state = 'committed' WHERE use.key = commit_use_as_owner.key AND use.state = 'reserved';
	SELECT count(*) INTO committed FROM omnichannel.promotion_use AS use WHERE use.key = commit_use_as_owner.key AND use.former = 0;
	RETURN committed;
END
$$;
COMMENT ON FUNCTION omnichannel.commit_use_as_owner(text) IS
'Does the work of commit_use(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.commit_use(key text) RETURNS integer
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_use_as_owner';
COMMENT ON FUNCTION omnichannel.commit_use(text) IS
'Makes the reservations of a key final, and returns how many there are; calling it again changes nothing. Raises 23503 for an unknown key, 42501 for who may not read promotion_use, 55000 where one was released.';

CREATE FUNCTION omnichannel.give_back_uses(promotion text, uses bigint, amount numeric, coupons text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM omnichannel.require_setup();
	-- In the order in which reserve_use() locks: coupons, then the sum.
	PERFORM FROM omnichannel.coupon AS given WHERE given.coupon = ANY (coupons) ORDER BY given.coupon FOR NO KEY UPDATE;
	UPDATE omnichannel.coupon AS given SET uses = given.uses - held.n
	FROM (SELECT code, count(*) AS n FROM unnest(coupons) AS code GROUP BY code) AS held WHERE given.coupon = held.code;
	UPDATE omnichannel.promotion_total AS total SET uses = total.uses - give_back_uses.uses, spent = total.spent - give_back_uses.amount
	WHERE total.promotion = give_back_uses.promotion;
	PERFORM omnichannel.note_used_up(give_back_uses.promotion)
	FROM omnichannel.promotion_used_up AS noted WHERE noted.promotion = give_back_uses.promotion AND noted.until IS NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.give_back_uses(text, bigint, numeric, text[]) IS
'Called where uses of a promotion are released or deleted: takes them out of its sums and those of these coupons, a code for each use. Raises 55000 before setup().';

CREATE FUNCTION omnichannel.give_back_deleted() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	gone record;
BEGIN
	FOR gone IN
		SELECT deleted.promotion, count(*) AS uses, sum(deleted.amount) AS amount,
			coalesce(array_agg(deleted.coupon ORDER BY deleted.coupon) FILTER (WHERE deleted.coupon IS NOT NULL), '{}') AS coupons
		FROM deleted WHERE deleted.state <> 'released' GROUP BY deleted.promotion ORDER BY deleted.promotion
	LOOP
		PERFORM omnichannel.lock_promotion_uses(gone.promotion);
		PERFORM omnichannel.give_back_uses(gone.promotion, gone.uses, gone.amount, gone.coupons);
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION omnichannel.give_back_deleted() IS
'Trigger function of promotion_use: what is deleted there counts no more. Raises 55000 above READ COMMITTED.';

CREATE FUNCTION omnichannel.release_promotion_uses(promotion text, keys text[], expired_only boolean) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	coupons text[];
	given_back numeric;
	released integer;
BEGIN
	PERFORM omnichannel.lock_promotion_uses(promotion);
	IF expired_only THEN
		-- What another session is about to release or to use is not waited for.
		keys := ARRAY(SELECT use.key FROM omnichannel.promotion_use AS use
			WHERE use.promotion = release_promotion_uses.promotion AND use.key = ANY (keys) AND use.state = 'reserved' AND use.expires_at <= now()
			ORDER BY use.key FOR UPDATE SKIP LOCKED);
	END IF;
	WITH gone AS (
		-- Not before it was reserved, where this transaction is the older one.
		UPDATE omnichannel.promotion_use AS use SET state = 'released', released_at = omnichannel.change_moment(use.reserved_at)
		WHERE use.promotion = release_promotion_uses.promotion AND use.key = ANY (keys) AND use.state <> 'released'
		RETURNING use.coupon, use.amount
	)
	SELECT count(*), coalesce(sum(gone.amount), 0), coalesce(array_agg(gone.coupon ORDER BY gone.coupon) FILTER (WHERE gone.coupon IS NOT NULL), '{}')
	INTO released, given_back, coupons FROM gone;
	IF released = 0 THEN
		RETURN 0;
	END IF;
	PERFORM omnichannel.give_back_uses(promotion, released, given_back, coupons);
	RETURN released;
END
$$;
COMMENT ON FUNCTION omnichannel.release_promotion_uses(text, text[], boolean) IS
'Called by release_use() and expire_uses(): gives back what these keys hold of one promotion, all of it or only reservations whose time is over, and returns how many uses. Raises 55000 above READ COMMITTED and before setup().';

CREATE FUNCTION omnichannel.release_use_as_owner(key text) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	held text;
	released integer := 0;
BEGIN
	PERFORM omnichannel.require_setup();
	FOR held IN SELECT use.promotion FROM omnichannel.promotion_use AS use
		WHERE use.key = release_use_as_owner.key AND use.state <> 'released' ORDER BY use.promotion
	LOOP
		released := released + omnichannel.release_promotion_uses(held, ARRAY[key], false);
	END LOOP;
	RETURN released;
END
$$;
COMMENT ON FUNCTION omnichannel.release_use_as_owner(text) IS
'Does the work of release_use(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.release_use(key text) RETURNS integer
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_use_as_owner';
COMMENT ON FUNCTION omnichannel.release_use(text) IS
'Gives back what a key has reserved or used, as when an order is cancelled, and returns how many uses, 0 for a key that holds none; calling it again changes nothing. The use counts no more from the start of the transaction on; where that is older than the use, from the start of the statement, so that what was answered in between stays as it was. Raises 42501 for who may not read promotion_use, 55000 above READ COMMITTED and before setup().';

CREATE FUNCTION omnichannel.expire_uses_as_owner(promotion text, max_rows integer) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	forgotten record;
	released integer := 0;
BEGIN
	PERFORM omnichannel.require_setup();
	IF max_rows IS NULL OR max_rows < 0 THEN
		RAISE EXCEPTION 'max_rows must not be %', coalesce(max_rows::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for 1000.';
	END IF;
	-- Promotion by promotion, in the order in which applications are to reserve them.
	FOR forgotten IN
		SELECT use.promotion, array_agg(use.key) AS keys
		FROM (SELECT held.promotion, held.key FROM omnichannel.promotion_use AS held
			WHERE held.state = 'reserved' AND held.expires_at <= now()
				AND (expire_uses_as_owner.promotion IS NULL OR held.promotion = expire_uses_as_owner.promotion)
			ORDER BY held.expires_at, held.key, held.promotion LIMIT max_rows) AS use
		GROUP BY use.promotion ORDER BY use.promotion
	LOOP
		released := released + omnichannel.release_promotion_uses(forgotten.promotion, forgotten.keys, true);
	END LOOP;
	RETURN released;
END
$$;
COMMENT ON FUNCTION omnichannel.expire_uses_as_owner(text, integer) IS
'Does the work of expire_uses(), which calls it with the rights of the tables'' owner; called by itself it has those of its caller. Raises what that raises.';

CREATE FUNCTION omnichannel.expire_uses(promotion text DEFAULT NULL, max_rows integer DEFAULT 1000) RETURNS integer
LANGUAGE c
AS 'MODULE_PATHNAME', 'omnichannel_use_as_owner';
COMMENT ON FUNCTION omnichannel.expire_uses(text, integer) IS
'Releases reservations whose time is over, of one promotion or of all, at most max_rows of them, and returns how many uses came back, 0 for a promotion that has none or is not known. For tick(). Raises 22023 for a negative max_rows, 42501 for who may not read promotion_use, 55000 above READ COMMITTED, where there are any, and before setup().';

CREATE FUNCTION omnichannel.create_coupons(promotion text, number integer, prefix text DEFAULT '', use_limit bigint DEFAULT 1,
	valid tstzrange DEFAULT tstzrange(now(), NULL)) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	batch text := to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD-') || substr(replace(gen_random_uuid()::text, '-', ''), 1, 8);
BEGIN
	PERFORM omnichannel.require_setup();
	IF number IS NULL OR number NOT BETWEEN 1 AND 1000000 OR prefix IS NULL THEN
		RAISE EXCEPTION '% coupons cannot be made', coalesce(number::text, 'NULL')
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Ask for 1 to 1000000 of them.';
	END IF;
	IF NOT EXISTS (SELECT FROM omnichannel.promotion AS known WHERE known.promotion = create_coupons.promotion) THEN
		RAISE EXCEPTION 'promotion % is not known', coalesce(quote_literal(promotion), 'NULL')
			USING ERRCODE = 'foreign_key_violation', HINT = 'Use a code of omnichannel.promotion.';
	END IF;
	-- 60 random bits in 12 letters and digits, none of which is taken for another: 0 and O, 1 and I.
	INSERT INTO omnichannel.coupon (coupon, promotion, batch, use_limit, valid)
	SELECT upper(btrim(prefix)) || code.code, promotion, batch, use_limit, valid
	FROM generate_series(1, number) AS n
	CROSS JOIN LATERAL (SELECT uuid_send(gen_random_uuid()) AS bytes WHERE n > 0) AS random
	CROSS JOIN LATERAL (SELECT string_agg(substr('ABCDEFGHJKLMNPQRSTUVWXYZ23456789', 1 + get_byte(random.bytes, place) % 32, 1), '') AS code
		FROM unnest('{0,1,2,3,4,5,7,9,10,11,12,13}'::integer[]) AS place) AS code;
	RETURN batch;
END
$$;
COMMENT ON FUNCTION omnichannel.create_coupons(text, integer, text, bigint, tstzrange) IS
'Makes a batch of random codes that open a promotion, and returns the name of the batch, by which omnichannel.coupon finds them. use_limit 1: single-use codes. Raises 23503 for an unknown promotion, 22023 for less than 1 or more than 1,000,000 codes, 22001 where codes with the prefix have over 500 bytes, 55000 before setup().';
