-- A timeline read page by page: across merged customers, partitions and equal times each contact comes once, whatever the
-- size of the page and whatever is logged meanwhile.
BEGIN;
SELECT plan(12);

CREATE TABLE omnichannel.contact_2026_01 PARTITION OF omnichannel.contact FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-01-02 00:00+00');
CREATE TABLE omnichannel.contact_2026_02 PARTITION OF omnichannel.contact FOR VALUES FROM ('2026-01-02 00:00+00') TO ('2026-01-03 00:00+00');
INSERT INTO omnichannel.customer (customer_id) SELECT generate_series(101, 104);
-- 180 contacts of three customers, in each hour twelve at the same time, over two partitions and the default one; and a stranger's
SELECT omnichannel.log_contact('branch', customer_id => 101 + i % 3, occurred_at => timestamptz '2026-01-01 20:00+00' + i / 12 * interval '1 hour', subject => 's' || i)
FROM generate_series(0, 179) AS i \g /dev/null
SELECT omnichannel.log_contact('branch', customer_id => 104, occurred_at => '2026-01-01 21:00+00') \g /dev/null
SELECT omnichannel.merge_customers(101, 102), omnichannel.merge_customers(103, 101) \g /dev/null

-- All pages of a size; between two pages somebody logs another contact, later than all.
CREATE FUNCTION pg_temp.pages(who bigint, size int, OUT contacts bigint[], OUT pages int) LANGUAGE plpgsql AS $$
DECLARE
	page record;
	at timestamptz := '2026-02-01 00:00+00';
	last bigint;
BEGIN
	contacts := '{}';
	pages := 0;
	LOOP
		SELECT array_agg(t.contact_id ORDER BY t.n) AS ids, (array_agg(t.occurred_at ORDER BY t.n DESC))[1] AS at, (array_agg(t.contact_id ORDER BY t.n DESC))[1] AS id
		INTO page FROM omnichannel.timeline(who, at, size, last) WITH ORDINALITY AS t (contact_id, occurred_at, a, b, c, d, e, f, g, h, i, j, n);
		EXIT WHEN page.ids IS NULL;
		contacts := contacts || page.ids;
		pages := pages + 1;
		at := page.at;
		last := page.id;
		PERFORM omnichannel.log_contact('branch', customer_id => who, occurred_at => '2026-03-01 00:00+00');
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.whole() RETURNS bigint[] LANGUAGE sql AS $$
	SELECT array_agg(contact_id ORDER BY occurred_at DESC, contact_id DESC) FROM omnichannel.contact
	WHERE customer_id IN (101, 102, 103) AND occurred_at < '2026-02-01 00:00+00'
$$;
SELECT is(cardinality(pg_temp.whole()), 180, 'there is something to read');
SELECT is((pg_temp.pages(who, size)).contacts, pg_temp.whole(), format('pages of %s, asked for customer %s', size, who))
FROM (VALUES (101, 1), (102, 7), (103, 12), (101, 13), (102, 180), (103, 1000)) AS asked (who, size);
SELECT is((pg_temp.pages(103, 7)).pages, 26, 'as many pages as it takes');
SELECT is((SELECT count(*) FROM omnichannel.timeline(102, '2026-01-01 21:00+00')), 12::bigint, 'before is not at');
SELECT is((SELECT count(*) FROM omnichannel.timeline(102, NULL, 3)), 3::bigint, 'without before: from the newest on');
SELECT is_empty('SELECT * FROM omnichannel.timeline(102, max_rows => 0)', 'no rows are asked for');
-- taken apart between two pages: what follows is the customer's own
SELECT omnichannel.unmerge_customers(merge_id) FROM omnichannel.customer_merge \g /dev/null
SELECT is((pg_temp.pages(102, 7)).contacts,
	(SELECT array_agg(contact_id ORDER BY occurred_at DESC, contact_id DESC) FROM omnichannel.contact WHERE customer_id = 102 AND occurred_at < '2026-02-01 00:00+00'),
	'apart, each has his own');
SELECT * FROM finish();
ROLLBACK;
