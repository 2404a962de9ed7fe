-- Prints the README's reference: the public functions and types, each with the first sentence of its COMMENT, up to a list.
-- test/reference.sh has put into tables which room each stands in (made), how the rooms are headed (room),
-- and the words of the README (shown).
\pset format unaligned
\pset tuples_only on
WITH support AS (
	SELECT oprcode::oid AS oid FROM pg_catalog.pg_operator
	UNION SELECT amproc FROM pg_catalog.pg_amproc
	UNION SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend]::oid[]) FROM pg_catalog.pg_type
), entry AS (
	SELECT proc.proname AS name, format('`%s(%s)%s`', proc.proname, taken.list,
			CASE WHEN proc.prokind = 'p' THEN '' WHEN given.list IS NOT NULL THEN ' → (' || given.list || ')'
				ELSE ' → ' || pg_catalog.pg_get_function_result(proc.oid) END) AS signature,
		pg_catalog.obj_description(proc.oid, 'pg_proc') AS comment
	FROM pg_catalog.pg_proc AS proc
	CROSS JOIN LATERAL (
		SELECT coalesce(string_agg(CASE coalesce(mode, 'i') WHEN 'v' THEN 'VARIADIC ' ELSE '' END || name || ' '
			|| pg_catalog.format_type(coalesce(any_type, type), NULL), ', ' ORDER BY place), '') AS list
		FROM unnest(proc.proargnames, proc.proargmodes, proc.proallargtypes, proc.proargtypes::oid[]) WITH ORDINALITY
			AS argument (name, mode, any_type, type, place)
		WHERE coalesce(mode, 'i') IN ('i', 'v')
	) AS taken
	CROSS JOIN LATERAL (
		SELECT string_agg(name, ', ' ORDER BY place) AS list
		FROM unnest(proc.proargnames, proc.proargmodes) WITH ORDINALITY AS argument (name, mode, place)
		WHERE mode IN ('o', 't')
	) AS given
	WHERE proc.pronamespace = 'omnichannel'::regnamespace
		AND proc.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype, 'cstring'::regtype)
		AND NOT ('internal'::regtype = ANY (proc.proargtypes) OR 'cstring'::regtype = ANY (proc.proargtypes))
		AND proc.oid NOT IN (SELECT support.oid FROM support)
	UNION ALL
	SELECT type.typname, format('type `%s`', type.typname), pg_catalog.obj_description(type.oid, 'pg_type')
	FROM pg_catalog.pg_type AS type LEFT JOIN pg_catalog.pg_class AS class ON class.oid = type.typrelid
	WHERE type.typnamespace = 'omnichannel'::regnamespace AND type.typcategory <> 'A' AND coalesce(class.relkind, 'c') = 'c'
), line AS (
	SELECT CASE
			WHEN name IN ('setup', 'upgrade', 'upgrade_script', 'tick') THEN 'core'
			WHEN signature LIKE 'type %' OR name IN (SELECT shown.name FROM shown)
				THEN coalesce((SELECT made.room FROM made WHERE made.name = entry.name), 'core')
		END AS room, name, signature,
		format('| %s | %s |', replace(regexp_replace(replace(signature, 'timestamp with time zone', 'timestamptz'), 'omnichannel\.', '', 'g'), '|', '\|'),
			replace(regexp_replace(regexp_replace(comment, '^((?:[^(.;:]|\([^)]*\)|[.](?!\s)|;(?!\s)|:(?!\n))*)[.;:](\s.*)?$', '\1'), '\s+', ' ', 'g'),
				'|', '\|')) AS text
	FROM entry
)
SELECT format(E'### %s\n\n| | |\n| --- | --- |\n%s\n', coalesce(title, 'For the extension itself'),
	string_agg(text, E'\n' ORDER BY name COLLATE "C", signature COLLATE "C"))
FROM line LEFT JOIN room USING (room) GROUP BY room.place, room.title ORDER BY room.place NULLS LAST;
