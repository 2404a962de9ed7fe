-- The type working_hours: what it reads, how it writes it, and what it refuses.
\set SHOW_CONTEXT never
SET search_path = omnichannel, public;

-- Each literal beside its canonical form, which reads back to the same value.
CREATE TEMP TABLE literal (id int GENERATED ALWAYS AS IDENTITY, given text);
INSERT INTO literal (given) VALUES
	('Mo-Fr 09:00-17:00; Sa 10:00-14:00'),
	('Mo 07:00-12:00,13:00-18:00'),
	('Fr 22:00-06:00'),
	('24/7'),
	('off'),
	('closed'),
	('09:00-17:00'),
	('09:00-17:00; Sa-Su off'),
	('Mo-Fr 09:00-17:00; We off'),
	('Mo-Fr 09:00-17:00; We 10:00-12:00'),
	('24/7; Su off'),
	('Mo,We-Fr 9:00-17:00'),
	('Fr-Mo 10:00-14:00'),
	('mon 09:00-12:00, 13:00-18:00; TUESDAY 08:00-16:00; Thurs 10:00-11:00'),
	('Mo-Fr 08:00-12:00, Sa 10:00-12:00'),
	('Mo-Fr 08:00-12:00, We 14:00-18:00'),
	('Mo-Fr 09:00-17:00, We off'),
	('Mo 09:00-12:00,12:00-17:00'),
	('Mo 09:00-13:00,12:00-17:00,10:00-11:00'),
	('Su 22:00-06:00'),
	('Su 22:00-06:00; Mo 06:00-08:00'),
	('Fr 22:00-06:00; Sa off'),
	('Fr 22:00-06:00; Sa 04:00-08:00'),
	('22:00-06:00'),
	('Mo 22:00-00:00'),
	('Mo 22:00-24:00; Tu 00:00-02:00'),
	('Mo 12:00-24:00; Tu-We 00:00-24:00; Th 00:00-06:00'),
	('Sa 12:00-24:00; Su 00:00-24:00; Mo 00:00-06:00'),
	('  Mo - We , Fr   09:00 - 17:00 ;  Sa off ');
SELECT given, given::working_hours AS canonical, given::working_hours::text::working_hours = given::working_hours AS same,
	working_hours_total(given::working_hours) AS total
FROM literal ORDER BY id;

-- What is no week: the SQLSTATE, the value, where reading ended and what to do.
DO $$
DECLARE
	literal text;
	detail text;
	hint text;
BEGIN
	FOREACH literal IN ARRAY ARRAY['', ' ', ';', 'Mo', 'Mo-Fr', 'Xx 09:00-17:00', 'M 09:00-17:00', 'Mox 09:00-17:00',
		'Mo-Xx 09:00-17:00', 'Mo, 09:00-17:00', 'Mo 9-17', 'Mo 09:00', 'Mo 09:00-', 'Mo 09:00-17', 'Mo 09:0-17:00',
		'Mo 09:000-17:00', 'Mo 25:00-26:00', 'Mo 09:60-10:00', 'Mo 24:01-24:30', 'Mo 24:00-24:00', 'Mo 09:00-09:00',
		'Mo 09:00:00-17:00:00', 'Mo 09:00-17:00;', 'Mo 09:00-17:00,', 'Mo 09:00-17:00 Tu 10:00-12:00', '24/70',
		'Mo 24/7', 'offMo', 'PH off', 'Mo-Fr 09:00-17:00; PH off', 'Jan Mo 09:00-17:00', 'Mo 09:00–17:00', 'Zażółć',
		'Mo 99999999999999999999:00-17:00', repeat('Mo 09:00-17:00; ', 20), repeat('ł', 200)]
	LOOP
		BEGIN
			PERFORM literal::omnichannel.working_hours;
			RAISE NOTICE '% was read', literal;
		EXCEPTION WHEN invalid_text_representation THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RAISE NOTICE '% | % | %', sqlerrm, detail, hint;
		END;
	END LOOP;
END
$$;
SELECT length(repeat(' ', 2000000) || 'off') > 0 AND NULL::working_hours IS NULL AS null_is_null;
DO $$
BEGIN
	PERFORM (repeat(' ', 2000000) || 'off')::omnichannel.working_hours;
EXCEPTION WHEN invalid_text_representation THEN
	RAISE NOTICE 'two megabytes: %', right(sqlerrm, 5);
END
$$;

-- Order, by open time and then by the first spell that differs; hash; duplicates.
SELECT DISTINCT given::working_hours AS hours FROM literal ORDER BY hours;
SELECT count(DISTINCT given::working_hours), count(*) FROM literal;
CREATE TEMP TABLE shop (shop int PRIMARY KEY, hours working_hours UNIQUE);
INSERT INTO shop SELECT row_number() OVER (), given::working_hours FROM literal ON CONFLICT DO NOTHING;
CREATE INDEX ON shop USING hash (hours);
SET enable_seqscan = off;
SELECT shop FROM shop WHERE hours = 'Mon 22:00-24:00, Tu 00:00-02:00';
SELECT count(*) FROM shop WHERE hours < 'Mo-Fr 09:00-17:00' AND hours > 'off' AND hours <> '24/7' AND hours >= 'Mo 10:00-10:01' AND hours <= '24/7';
RESET enable_seqscan;
SELECT count(*) FROM shop AS a JOIN shop AS b ON a.hours = b.hours;

-- Union, intersection, difference.
SELECT working_hours 'Mo-Fr 09:00-17:00' + 'Sa 10:00-14:00' AS "union",
	working_hours 'Mo-Fr 09:00-17:00' * '12:00-13:00' AS intersection,
	working_hours 'Mo-Fr 09:00-17:00' - '12:00-13:00' AS difference;
SELECT working_hours '24/7' - 'Sa-Su 00:00-24:00' AS weekdays, working_hours 'off' + 'off' AS nothing,
	working_hours 'Fr 22:00-06:00' * 'Sa 00:00-24:00' AS after_midnight, working_hours '24/7' - '24/7' AS none;
SELECT bool_and((a.given::working_hours - b.given::working_hours) + (a.given::working_hours * b.given::working_hours)
	= a.given::working_hours) AS parts_make_the_whole
FROM literal AS a, literal AS b;

-- The binary form, there and back; and bytes that are none: a spell too many announced, an end before the start, spells
-- that touch, one that is past the week, a number of spells past all bounds, a negative one.
SELECT encode(working_hours_send('Mo 09:00-17:00; Su 22:00-06:00'), 'hex');
CREATE TEMP TABLE received (hours working_hours);
\set file `mktemp -u /tmp/working_hours.XXXXXX`
COPY (SELECT hours FROM shop) TO :'file' (FORMAT binary);
COPY received FROM :'file' (FORMAT binary);
\setenv FILE :file
\! rm -f "$FILE"
SELECT count(*), count(*) FILTER (WHERE hours IN (SELECT hours FROM shop)) AS same FROM received;
\set VERBOSITY default
COPY received FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\10\0\0\0\2\2\034\3\374\377\377"' (FORMAT binary);
COPY received FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\10\0\0\0\1\3\374\2\034\377\377"' (FORMAT binary);
COPY received FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\14\0\0\0\2\0\0\0\1\0\1\0\2\377\377"' (FORMAT binary);
COPY received FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\10\0\0\0\1\0\0\047\141\377\377"' (FORMAT binary);
COPY received FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4\177\377\377\377\377\377"' (FORMAT binary);
COPY received FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4\377\377\377\377\377\377"' (FORMAT binary);
COPY received FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\10\0\0\0\1\0\0\047\140\377\377"' (FORMAT binary);
SELECT hours FROM received WHERE hours = '24/7' LIMIT 1;
DROP TABLE received, shop, literal;
