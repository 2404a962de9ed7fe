-- With updates, a row that was never logged does not write into the contact that its key was logged of.
BEGIN;
SELECT plan(50);
INSERT INTO omnichannel.identity_kind (kind, name, normal_form) VALUES ('login', 'Login', 'exact');
CREATE FUNCTION public.follow(name text, on_error text, maps jsonb DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT omnichannel.track(name::regclass, channel => '{channel}', kind => 'login', customer => '{who}', direction => '{dir}', body => '{body}',
		occurred_at => '{at}', updates => true, on_error => on_error, value_maps => maps)
$$;
CREATE FUNCTION public.said(name text) RETURNS TABLE (source_key text, who text, body text) LANGUAGE sql AS $$
	SELECT c.source_key, i.value, c.body FROM omnichannel.contact AS c JOIN omnichannel.identity AS i USING (customer_id)
	WHERE c.source = 'public.' || name ORDER BY c.source_key::int
$$;
CREATE FUNCTION public.kept(name text) RETURNS TABLE (source_key text, sqlstate text, body text) LANGUAGE sql AS $$
	SELECT r.source_key, r.sqlstate, r.data ->> 'body' FROM omnichannel.contact_reject AS r WHERE r.source = 'public.' || name ORDER BY r.source_key::int
$$;
CREATE TABLE public.refilled (id int PRIMARY KEY, who text, body text, at timestamptz, dir text DEFAULT 'inbound', channel text DEFAULT 'forum');
CREATE TABLE public.drafted (LIKE public.refilled INCLUDING ALL);
CREATE TABLE public.drafted_kept (LIKE public.refilled INCLUDING ALL);
CREATE TABLE public.taken (LIKE public.refilled INCLUDING ALL);
CREATE TABLE public.swapped (id int PRIMARY KEY DEFERRABLE, who text, body text, at timestamptz, dir text DEFAULT 'inbound', channel text DEFAULT 'forum');
CREATE TABLE public.moved_up (id int PRIMARY KEY DEFERRABLE, who text, body text, at timestamptz, dir text DEFAULT 'inbound', channel text DEFAULT 'forum');
CREATE TABLE public.imported (LIKE public.refilled INCLUDING ALL);
CREATE TABLE public.moved_before (LIKE public.moved_up INCLUDING DEFAULTS, PRIMARY KEY (id) DEFERRABLE);

-- A new row under an old key, which waits.
SELECT public.follow('public.refilled', 'quarantine') \g /dev/null
INSERT INTO public.refilled VALUES (1, 'ann', 'of ann', '2026-06-01');
TRUNCATE public.refilled;
INSERT INTO public.refilled VALUES (1, 'bob', 'of bob', '2026-06-02');
UPDATE public.refilled SET body = 'secret of bob';
SELECT results_eq($$SELECT * FROM public.said('refilled')$$, $$VALUES ('1', 'ann', 'of ann')$$, 'a row that waits revises nobody else''s contact');
SELECT results_eq($$SELECT * FROM public.kept('refilled')$$, $$VALUES ('1', '23505', 'secret of bob')$$, 'it waits on as it is now');
UPDATE public.refilled SET dir = 'sideways';
UPDATE public.refilled SET dir = 'inbound', who = 'bob', body = 'still bob''s';
SELECT results_eq($$SELECT * FROM public.said('refilled')$$, $$VALUES ('1', 'ann', 'of ann')$$, 'whatever else keeps it meanwhile');
SELECT is(omnichannel.retry_rejects('public.refilled'), 0::bigint, 'nor when it is tried again');
SELECT results_eq($$SELECT * FROM public.kept('refilled')$$, $$VALUES ('1', '23505', 'still bob''s')$$, 'it waits');
UPDATE public.refilled SET id = 1001;
SELECT results_eq($$SELECT * FROM public.said('refilled')$$, $$VALUES ('1', 'ann', 'of ann'), ('1001', 'bob', 'still bob''s')$$, 'under a key of its own it is logged');
SELECT is_empty($$SELECT * FROM public.kept('refilled')$$, 'and waits no longer');

-- A row that was left out.
SELECT public.follow('public.drafted', 'error', '{"direction": {"draft": null, "*": "inbound"}}') \g /dev/null
INSERT INTO public.drafted VALUES (1, 'ann', 'of ann', '2026-06-01', 'Q'), (2, 'ann', 'also', '2026-06-01', 'Q');
DELETE FROM public.drafted WHERE id = 1;
INSERT INTO public.drafted VALUES (1, 'bob', 'of bob', '2026-06-02', 'draft');
SELECT throws_ok($$UPDATE public.drafted SET dir = 'Q', body = 'secret of bob' WHERE id = 1$$, '23505',
	'source "public.drafted" has logged another row under key "1"', 'a row that was left out is refused');
UPDATE public.drafted SET id = 11, dir = 'Q', body = 'bob''s own' WHERE id = 1;
UPDATE public.drafted SET dir = 'draft' WHERE id = 2;
UPDATE public.drafted SET dir = 'Q', body = 'again' WHERE id = 2;
SELECT results_eq($$SELECT * FROM public.said('drafted')$$, $$VALUES ('1', 'ann', 'of ann'), ('2', 'ann', 'again'), ('11', 'bob', 'bob''s own')$$,
	'but under its own key, or what was logged of it');
SELECT public.follow('public.drafted_kept', 'quarantine', '{"direction": {"draft": null, "*": "inbound"}}') \g /dev/null
INSERT INTO public.drafted_kept VALUES (1, 'ann', 'of ann', '2026-06-01', 'Q');
DELETE FROM public.drafted_kept;
INSERT INTO public.drafted_kept VALUES (1, 'bob', 'of bob', '2026-06-02', 'draft');
UPDATE public.drafted_kept SET dir = 'Q', body = 'secret of bob';
SELECT results_eq($$SELECT * FROM public.kept('drafted_kept')$$, $$VALUES ('1', '23505', 'secret of bob')$$, 'or waits');
SELECT is(omnichannel.retry_rejects('public.drafted_kept'), 0::bigint, 'also when it is tried again');
SELECT results_eq($$SELECT * FROM public.said('drafted_kept')$$, $$VALUES ('1', 'ann', 'of ann')$$, 'and nothing is revised');

-- A row that takes the key of one that is gone.
SELECT public.follow('public.taken', 'quarantine') \g /dev/null
INSERT INTO public.taken VALUES (1, 'ann', 'of ann', '2026-06-01'), (2, 'bob', 'of bob', '2026-06-01');
DELETE FROM public.taken WHERE id = 1;
UPDATE public.taken SET id = 1;
UPDATE public.taken SET body = 'secret of bob';
SELECT results_eq($$SELECT * FROM public.said('taken')$$, $$VALUES ('1', 'ann', 'of ann'), ('2', 'bob', 'of bob')$$, 'a key that is another''s stays so');
SELECT results_eq($$SELECT * FROM public.kept('taken')$$, $$VALUES ('1', '23505', 'secret of bob')$$, 'the row waits');
SELECT is(omnichannel.retry_rejects('public.taken'), 0::bigint, 'also when it is tried again');
SELECT results_eq($$SELECT * FROM public.said('taken')$$, $$VALUES ('1', 'ann', 'of ann'), ('2', 'bob', 'of bob')$$, 'and writes nowhere');

-- Rows that changed places.
SELECT public.follow('public.swapped', 'quarantine') \g /dev/null
INSERT INTO public.swapped VALUES (1, 'ann', 'of ann', '2026-06-01'), (2, 'bob', 'of bob', '2026-06-01');
UPDATE public.swapped SET id = 3 - id;
UPDATE public.swapped SET id = id + 10, body = 'secret of ' || who;
SELECT is_empty($$SELECT FROM public.said('swapped') WHERE body NOT LIKE '%' || who$$, 'no contact says what another wrote');
SELECT results_eq($$SELECT source_key, who FROM public.said('swapped') WHERE source_key::int > 10$$, $$VALUES ('11', 'bob'), ('12', 'ann')$$, 'nor follows another''s row');

-- Corrections go on, again and again, and so do rows that wait for another reason.
SELECT lives_ok($$UPDATE public.drafted SET who = 'eve', at = '2026-06-03' WHERE id = 2$$, 'a row may get another time and customer');
SELECT lives_ok($$UPDATE public.drafted SET body = 'corrected' WHERE id = 2$$, 'and go on');
SELECT is((SELECT body FROM public.said('drafted') WHERE source_key = '2'), 'corrected', 'in its contact');
UPDATE public.refilled SET dir = 'sideways', body = 'x';
UPDATE public.refilled SET dir = 'inbound', body = 'back';
SELECT results_eq($$SELECT s.body, count(k.*) FROM public.said('refilled') AS s LEFT JOIN public.kept('refilled') AS k ON true WHERE s.source_key = '1001' GROUP BY 1$$,
	$$VALUES ('back', 0::bigint)$$, 'what was logged of a row is revised when it is mended');
-- A row that was never logged, of somebody nobody knows, is logged when it is mended.
INSERT INTO public.refilled VALUES (2, 'dan', 'bad', '2026-06-02', 'sideways');
UPDATE public.refilled SET dir = 'inbound', body = 'good' WHERE id = 2;
SELECT results_eq($$SELECT who, body FROM public.said('refilled') WHERE source_key = '2'$$, $$VALUES ('dan', 'good')$$, 'a row that waits and never was logged is');
-- What is known to have been logged of a row stays so, whatever it is corrected to while it waits.
UPDATE public.refilled SET dir = 'sideways', at = '2026-06-05', who = 'eve' WHERE id = 2;
SELECT results_eq($$SELECT updated FROM omnichannel.contact_reject WHERE source_key = '2'$$, 'VALUES (true)', 'a row whose contact there is says so');
UPDATE public.refilled SET dir = 'inbound', body = 'better' WHERE id = 2;
SELECT results_eq($$SELECT who, body FROM public.said('refilled') WHERE source_key = '2'$$, $$VALUES ('dan', 'better')$$, 'and goes on with it');
SELECT is_empty($$SELECT FROM public.kept('refilled') WHERE source_key = '2'$$, 'and waits no longer');
UPDATE public.refilled SET dir = 'sideways' WHERE id = 2;
UPDATE public.refilled SET id = 3 WHERE id = 2;
UPDATE public.refilled SET dir = 'inbound', body = 'best' WHERE id = 3;
SELECT results_eq($$SELECT source_key, who, body FROM public.said('refilled') WHERE source_key IN ('2', '3')$$, $$VALUES ('3', 'dan', 'best')$$, 'under each of its keys');
-- What waits under another's key takes nothing of it along, however it is updated.
DELETE FROM public.refilled WHERE id = 3;
INSERT INTO public.refilled VALUES (3, 'bob', 'of bob', '2026-06-07');
UPDATE public.refilled SET dir = 'sideways', id = 4 WHERE id = 3;
SELECT results_eq($$SELECT source_key, who FROM public.said('refilled') WHERE source_key IN ('3', '4')$$, $$VALUES ('3', 'dan')$$, 'a contact does not follow a row that waits under its key');
SELECT results_eq($$SELECT source_key, updated FROM omnichannel.contact_reject WHERE source_key IN ('3', '4')$$, $$VALUES ('4', false)$$, 'which waits as one that was never logged');
UPDATE public.refilled SET dir = 'inbound' WHERE id = 4;
SELECT results_eq($$SELECT source_key, who FROM public.said('refilled') WHERE source_key IN ('3', '4')$$, $$VALUES ('3', 'dan'), ('4', 'bob')$$, 'until it is mended');
-- A draft keeps what was logged of it, also under another key.
UPDATE public.drafted SET dir = 'draft', id = 12, body = 'x' WHERE id = 11;
SELECT results_eq($$SELECT source_key, who, body FROM public.said('drafted') WHERE source_key IN ('11', '12')$$, $$VALUES ('12', 'bob', 'bob''s own')$$, 'a row that is left out and gets another key');
UPDATE public.drafted SET id = 13 WHERE id = 12;
UPDATE public.drafted SET dir = 'Q', body = 'y' WHERE id = 13;
SELECT results_eq($$SELECT source_key, who, body FROM public.said('drafted') WHERE source_key::int > 10$$, $$VALUES ('13', 'bob', 'y')$$, 'has one contact');
-- whatever else keeps it from the log meanwhile
UPDATE public.drafted SET dir = 'draft', channel = 'telex' WHERE id = 13;
UPDATE public.drafted SET id = 14, channel = 'forum' WHERE id = 13;
UPDATE public.drafted SET dir = 'Q', body = 'z' WHERE id = 14;
SELECT results_eq($$SELECT source_key, who, body FROM public.said('drafted') WHERE source_key::int > 10$$, $$VALUES ('14', 'bob', 'z')$$, 'and keeps it while it is left out for more than one reason');
-- but not another's
INSERT INTO public.drafted VALUES (1, 'bob', 'of bob', '2026-06-02', 'draft');
UPDATE public.drafted SET id = 15 WHERE id = 1;
SELECT results_eq($$SELECT source_key, who FROM public.said('drafted') WHERE source_key IN ('1', '15')$$, $$VALUES ('1', 'ann')$$, 'nor does another''s contact follow it');
-- What waits is no longer to be logged, under any key.
INSERT INTO public.drafted_kept VALUES (5, 'cid', 'of cid', 'infinity', 'Q');
UPDATE public.drafted_kept SET id = 6, dir = 'draft' WHERE id = 5;
SELECT is_empty($$SELECT FROM public.kept('drafted_kept') WHERE source_key <> '1'$$, 'a row that is left out waits no longer');

-- A row that waited under another's key and comes back to its own waits no longer.
SELECT public.follow('public.moved_up', 'quarantine', '{"direction": {"draft": null}}') \g /dev/null
INSERT INTO public.moved_up VALUES (3, 'ann', 'of ann', '2026-06-01');
DELETE FROM public.moved_up;
INSERT INTO public.moved_up VALUES (7, 'bob', 'of bob', '2026-06-02');
UPDATE public.moved_up SET id = 3, dir = 'draft';
UPDATE public.moved_up SET dir = 'inbound';
SELECT results_eq($$SELECT source_key, sqlstate FROM public.kept('moved_up')$$, $$VALUES ('3', '23505')$$, 'a row waits under a key that is another''s');
UPDATE public.moved_up SET id = 7, body = 'bob again';
SELECT results_eq($$SELECT source_key, body FROM public.said('moved_up')$$, $$VALUES ('3', 'of ann'), ('7', 'bob again')$$, 'where it comes back to its contact');
SELECT is_empty($$SELECT FROM public.kept('moved_up')$$, 'it waits no longer');

-- Rows whose keys are moved up at once: who comes first to the next one's key waits on when that is logged, or left out.
INSERT INTO public.moved_up VALUES (11, 'ann', 'of 11', '2026-06-03'), (21, 'ann', 'of 21', '2026-06-04');
DELETE FROM public.moved_up;
INSERT INTO public.moved_up VALUES (10, 'bob', 'of 10', '2026-06-05', 'inbound'), (11, 'cid', 'new 11', '2026-06-06', 'draft'),
	(20, 'bob', 'of 20', '2026-06-07', 'inbound'), (21, 'cid', 'new 21', '2026-06-08', 'draft');
UPDATE public.moved_up SET id = id + 1, dir = CASE WHEN id < 20 THEN 'inbound' ELSE dir END;
SELECT results_eq($$SELECT * FROM public.kept('moved_up')$$, $$VALUES ('11', '23505', 'of 10'), ('21', '23505', 'of 20')$$, 'a row that came to another''s key waits on when that goes');
SELECT results_eq($$SELECT source_key, who, body FROM public.said('moved_up') WHERE source_key = '12'$$, $$VALUES ('12', 'cid', 'new 11')$$, 'which is logged');
DELETE FROM public.moved_up;
-- What comes to a key before the row that never was logged there leaves it is not that row's.
INSERT INTO public.moved_up VALUES (30, 'ann', 'of 30', '2026-06-01', 'inbound'), (31, 'bob', 'of 31', '2026-06-02', 'sideways'),
	(40, 'ann', 'of 40', '2026-06-03', 'sideways'), (41, 'bob', 'of 41', '2026-06-04', 'sideways'),
	(50, 'ann', 'of 50', '2026-06-05', 'inbound'), (51, 'bob', 'of 51', '2026-06-06', 'sideways');
UPDATE public.moved_up SET id = id + 1, dir = CASE WHEN id < 50 THEN 'inbound' ELSE dir END;
SELECT results_eq($$SELECT source_key, who, body FROM public.said('moved_up') WHERE source_key::int >= 30$$,
	$$VALUES ('31', 'ann', 'of 30'), ('32', 'bob', 'of 31'), ('41', 'ann', 'of 40'), ('42', 'bob', 'of 41'), ('51', 'ann', 'of 50')$$,
	'rows whose keys are moved up have a contact each, the one that waited, too');
SELECT results_eq($$SELECT r.source_key, r.data ->> 'body', r.updated, r.tries FROM omnichannel.contact_reject AS r WHERE r.source_key::int >= 30$$,
	$$VALUES ('52', 'of 51', false, 1)$$, 'what waits on has none');
-- What waited where another row comes first is still known to be new: here, with somebody else's contact under its key.
DELETE FROM public.moved_up;
INSERT INTO public.moved_up VALUES (61, 'ann', 'of 61', '2026-06-01', 'inbound'), (71, 'ann', 'of 71', '2026-06-02', 'inbound'),
	(81, 'ann', 'of 81', '2026-06-03', 'inbound');
DELETE FROM public.moved_up;
INSERT INTO public.moved_up VALUES (60, 'cid', 'of cid', '2026-06-03', 'draft'), (61, 'bob', 'of bob', '2026-06-04', 'sideways'),
	(70, 'cid', 'of cid', '2026-06-05', 'sideways'), (71, 'bob', 'of bob', '2026-06-06', 'sideways'),
	(80, 'ann', 'again', '2026-06-03', 'inbound'), (81, 'bob', 'of bob', '2026-06-08', 'sideways');
UPDATE public.moved_up SET id = id + 1;
SELECT results_eq($$SELECT source_key, updated FROM omnichannel.contact_reject WHERE source_key::int BETWEEN 60 AND 89$$,
	$$VALUES ('62', false), ('71', false), ('72', false), ('82', false)$$, 'another''s contact does not follow a row in whose place another waits, is left out or logged');
UPDATE public.moved_up SET dir = 'inbound' WHERE id IN (62, 72, 82);
SELECT results_eq($$SELECT source_key, who, body FROM public.said('moved_up') WHERE source_key::int BETWEEN 60 AND 89$$,
	$$VALUES ('61', 'ann', 'of 61'), ('62', 'bob', 'of bob'), ('71', 'ann', 'of 71'), ('72', 'bob', 'of bob'), ('80', 'ann', 'again'), ('81', 'ann', 'again'), ('82', 'bob', 'of bob')$$,
	'which has its own once it is mended');
-- the same of rows that were there before the table was tracked
INSERT INTO public.moved_before VALUES (1, 'ann', 'of 1', '2026-06-01'), (2, 'bob', 'of 2', '2026-06-02');
SELECT public.follow('public.moved_before', 'error') \g /dev/null
UPDATE public.moved_before SET id = id + 1;
SELECT results_eq($$SELECT source_key, who, body FROM public.said('moved_before')$$, $$VALUES ('2', 'ann', 'of 1'), ('3', 'bob', 'of 2')$$, 'also where nothing was logged of either');
INSERT INTO public.moved_before VALUES (6, 'bob', 'of 6', '2026-06-03');
DELETE FROM omnichannel.contact WHERE source_key = '6';
DELETE FROM omnichannel.contact_key WHERE source_key = '6';
INSERT INTO public.moved_before VALUES (5, 'ann', 'of 5', '2026-06-04');
SELECT omnichannel.erase_customer((SELECT customer_id FROM omnichannel.identity WHERE value = 'ann')) \g /dev/null
UPDATE public.moved_before SET id = id + 1 WHERE id > 4;
SELECT results_eq($$SELECT source_key, who, body FROM public.said('moved_before') WHERE source_key::int > 4$$, $$VALUES ('7', 'bob', 'of 6')$$, 'and where the key that moves is an erased customer''s');

-- What is logged already is not changed by an import, and what waits of it is left.
SELECT public.follow('public.imported', 'quarantine') \g /dev/null
INSERT INTO public.imported VALUES (2, 'ann', 'first', '2026-06-01'), (3, 'bob', 'of bob', '2026-06-02');
DELETE FROM public.imported WHERE id = 3;
UPDATE public.imported SET id = 3, body = 'second';
UPDATE public.imported SET id = 2, body = 'third', dir = 'sideways';
ALTER TABLE public.imported DISABLE TRIGGER USER;
UPDATE public.imported SET dir = 'inbound';
ALTER TABLE public.imported ENABLE TRIGGER USER;
SELECT is(omnichannel.backfill('public.imported'), 0::bigint, 'an import logs nothing again');
SELECT results_eq($$SELECT source_key, body FROM public.kept('imported')$$, $$VALUES ('2', 'third')$$, 'nor forgets what waits');
SELECT is(omnichannel.retry_rejects('public.imported'), 1::bigint, 'until it is tried again');
SELECT results_eq($$SELECT source_key, body FROM public.said('imported')$$, $$VALUES ('2', 'third'), ('3', 'of bob')$$, 'and revises its contact');
SELECT * FROM finish();
ROLLBACK;
