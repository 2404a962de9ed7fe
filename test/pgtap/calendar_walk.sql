-- deadline() and working_time() in zones that do odd things, beside a walk from minute to minute: weeks, exceptions, starts
-- and targets by chance, the same each time. The walk asks AT TIME ZONE what local times mean, and counts.
BEGIN;
SELECT plan(15);
SET LOCAL search_path = pg_catalog, public;
SET LOCAL timezone = 'UTC';

-- A local time as an instant; of a day that was skipped there is only the beginning.
CREATE FUNCTION pg_temp.instant(at timestamp, zone text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN (at::date + 1)::timestamp AT TIME ZONE zone <= at::date::timestamp AT TIME ZONE zone
		THEN at::date::timestamp AT TIME ZONE zone ELSE at AT TIME ZONE zone END $$;

-- Compares what is asked of ten local days by chance; returns each question whose answers differ, and counts in `asked`.
CREATE FUNCTION pg_temp.differ(zone text, first date, seed float8, OUT asked int, OUT wrong text[]) LANGUAGE plpgsql AS $$
DECLARE
	days CONSTANT int := 10;
	begins timestamptz := first::timestamp AT TIME ZONE zone;
	names CONSTANT text[] := '{Mo,Tu,We,Th,Fr,Sa,Su}';
	hours text := 'off';
	opened int[] := array_fill(0, ARRAY[14]);
	closed int[] := array_fill(0, ARRAY[14]);
	exceptions omnichannel.calendar_span[] := '{}';
	spells tstzmultirange;
	minutes boolean[];
	count int;
	target int;
	left_over int;
	step int;
	start int;
	local timestamp;
	day date;
	expected timestamptz;
	got timestamptz;
	work int;
BEGIN
	PERFORM setseed(seed);
	asked := 0;
	wrong := '{}';
	FOR i IN 1 .. 7 LOOP
		CONTINUE WHEN random() < 0.25;
		opened[i] := (random() * 500)::int;
		closed[i] := opened[i] + 1 + (random() * 400)::int;
		opened[7 + i] := closed[i] + 1 + (random() * 200)::int;
		closed[7 + i] := CASE WHEN random() < 0.3 THEN 1440 ELSE opened[7 + i] + 1 + (random() * 300)::int END;
		hours := hours || format('; %s %s-%s,%s-%s', names[i], to_char(opened[i] * interval '1 minute', 'HH24:MI'), to_char(closed[i] * interval '1 minute', 'HH24:MI'),
			to_char(opened[7 + i] * interval '1 minute', 'HH24:MI'), to_char(closed[7 + i] * interval '1 minute', 'HH24:MI'));
	END LOOP;
	FOR i IN 1 .. 6 LOOP
		local := first + (random() * days * 1440)::int * interval '1 minute';
		exceptions := exceptions || ROW(tsrange(local, local + (1 + (random() * 900)::int) * interval '1 minute'), i % 2 = 0)::omnichannel.calendar_span;
	END LOOP;

	SELECT range_agg(tstzrange(f, t)) INTO spells
	FROM generate_series(first - 3, first + days + 3, interval '1 day') AS d, generate_series(0, 7, 7) AS half,
		LATERAL (SELECT extract(isodow FROM d)::int + half) AS w (i),
		LATERAL (SELECT (d::date + opened[i] * interval '1 minute') AT TIME ZONE zone, (d::date + closed[i] * interval '1 minute') AT TIME ZONE zone) AS e (f, t)
	WHERE opened[i] < closed[i] AND f < t AND (d::date + 1)::timestamp AT TIME ZONE zone > d::date::timestamp AT TIME ZONE zone;
	SELECT coalesce(spells, '{}') - coalesce(range_agg(during) FILTER (WHERE NOT open), '{}') + coalesce(range_agg(during) FILTER (WHERE open), '{}') INTO spells
	FROM (SELECT e.open, tstzrange(f, t) AS during FROM unnest(exceptions) AS e,
		LATERAL (SELECT pg_temp.instant(lower(e.during), zone), pg_temp.instant(upper(e.during), zone)) AS i (f, t) WHERE f < t) AS exception;
	count := extract(epoch FROM (first + days)::timestamp AT TIME ZONE zone - begins)::int / 60;
	minutes := ARRAY(SELECT spells @> begins + i * interval '1 minute' FROM generate_series(0, count - 1) AS i ORDER BY i);

	FOR question IN 1 .. 24 LOOP
		start := 1 + (random() * (count - 2))::int;
		target := CASE question % 6 WHEN 0 THEN 0 ELSE (random() * 1500)::int * CASE question % 2 WHEN 0 THEN 1 ELSE -1 END END;
		expected := NULL;
		IF question <= 16 THEN
			-- minutes[i] begins i - 1 minutes after all does
			left_over := abs(target);
			step := CASE WHEN target < 0 THEN start - 1 ELSE start END;
			WHILE step BETWEEN 1 AND count LOOP
				IF minutes[step] THEN
					left_over := left_over - 1;
					IF left_over <= 0 THEN
						expected := begins + (step - CASE WHEN target > 0 THEN 0 ELSE 1 END) * interval '1 minute';
						EXIT;
					END IF;
				END IF;
				step := step + CASE WHEN target < 0 THEN -1 ELSE 1 END;
			END LOOP;
			CONTINUE WHEN expected IS NULL;
			got := omnichannel.deadline(begins + (start - 1) * interval '1 minute', target * interval '1 minute', hours::omnichannel.working_hours, zone, exceptions);
		ELSE
			-- days: the same local time on the first, second … later or earlier one that has an open minute
			target := CASE WHEN question % 2 = 0 THEN 1 ELSE -1 END * (1 + question % 3);
			local := (begins + (start - 1) * interval '1 minute') AT TIME ZONE zone;
			day := local::date;
			left_over := abs(target);
			WHILE left_over > 0 LOOP
				day := day + sign(target)::int;
				EXIT WHEN day < first OR day >= first + days;
				IF true = ANY (minutes[1 + extract(epoch FROM day::timestamp AT TIME ZONE zone - begins)::int / 60
						: extract(epoch FROM (day + 1)::timestamp AT TIME ZONE zone - begins)::int / 60]) THEN
					left_over := left_over - 1;
				END IF;
			END LOOP;
			CONTINUE WHEN left_over > 0;
			step := 1 + extract(epoch FROM (day + local::time) AT TIME ZONE zone - begins)::int / 60;
			CONTINUE WHEN step NOT BETWEEN 1 AND count;
			IF target > 0 OR minutes[step] THEN
				WHILE step <= count AND NOT minutes[step] LOOP
					step := step + 1;
				END LOOP;
			ELSE
				WHILE step > 1 AND NOT minutes[step - 1] LOOP
					step := step - 1;
				END LOOP;
			END IF;
			CONTINUE WHEN step NOT BETWEEN 2 AND count;
			expected := begins + (step - 1) * interval '1 minute';
			got := omnichannel.deadline(begins + (start - 1) * interval '1 minute', make_interval(days => target), hours::omnichannel.working_hours, zone, exceptions);
		END IF;
		asked := asked + 1;
		IF got IS DISTINCT FROM expected THEN
			wrong := wrong || format('%s: %s from %s, %s, %s: %s and not %s', question, target, begins + (start - 1) * interval '1 minute', hours, exceptions, got, expected);
		END IF;

		-- the working time between the start and another minute
		step := 1 + (random() * (count - 2))::int;
		SELECT count(*) FILTER (WHERE open) * sign(step - start) INTO work FROM unnest(minutes[least(start, step) : greatest(start, step) - 1]) AS open;
		asked := asked + 1;
		IF omnichannel.working_time(begins + (start - 1) * interval '1 minute', begins + (step - 1) * interval '1 minute',
				hours::omnichannel.working_hours, zone, exceptions) <> coalesce(work, 0) * interval '1 minute' THEN
			wrong := wrong || format('working time of minutes %s to %s, %s, %s: not %s', start, step, hours, exceptions, work);
		END IF;
	END LOOP;
END
$$;

CREATE TEMP TABLE walked AS
SELECT zone, first, sum(asked) AS asked, array_agg(w) FILTER (WHERE w IS NOT NULL) AS wrong
FROM (VALUES ('Australia/Lord_Howe', '2024-04-02'::date), ('Pacific/Apia', '2011-12-26'), ('Pacific/Kwajalein', '1993-08-17'),
		('Europe/Dublin', '2026-10-20'), ('Europe/Warsaw', '2026-03-24'), ('Europe/Warsaw', '2026-10-20'), ('Europe/Dublin', '1880-07-20'),
		('Europe/Warsaw', '1885-03-02'), ('America/St_Johns', '1987-04-01'),
		('Africa/Casablanca', '2026-02-12'), ('Pacific/Kiritimati', '1994-12-27'), ('Asia/Manila', '1844-12-26'), ('Antarctica/Troll', '2026-03-24'),
		('America/New_York', '9000-03-05')) AS place (zone, first), generate_series(1, 6) AS seed,
	LATERAL pg_temp.differ(zone, first, seed / 10.0) AS answer LEFT JOIN LATERAL unnest(answer.wrong) AS w ON true
GROUP BY zone, first;
SELECT is(wrong[1:3], NULL, format('%s from %s', zone, first)) FROM walked ORDER BY first, zone;
SELECT cmp_ok(min(asked)::integer, '>', 150, 'enough is asked of each') FROM walked;
SELECT * FROM finish();
ROLLBACK;
