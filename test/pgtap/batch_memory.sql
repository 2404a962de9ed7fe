-- What a statement takes in memory while it logs does not grow with its rows.
BEGIN;
SELECT plan(2);
SET LOCAL work_mem = '2MB';
CREATE TABLE public.late (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sender text, kind text, at timestamptz);
SELECT omnichannel.track('public.late', channel => 'email', customer => '{sender}', kind => 'email', direction => '{kind}', occurred_at => '{at}') \g /dev/null
CREATE TABLE public.taken (place bigint GENERATED ALWAYS AS IDENTITY, bytes numeric);
CREATE FUNCTION public.take() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.taken (bytes) SELECT sum(total_bytes) FROM pg_backend_memory_contexts;
	RETURN NULL;
END
$$;
CREATE TRIGGER take BEFORE INSERT OR UPDATE ON omnichannel.sla_clock FOR EACH STATEMENT EXECUTE FUNCTION public.take();
CREATE FUNCTION public.growth() RETURNS numeric LANGUAGE sql AS $$
	SELECT round(max(bytes) FILTER (WHERE quarter = 4) / max(bytes) FILTER (WHERE quarter = 1), 2)
	FROM (SELECT bytes, ntile(4) OVER (ORDER BY place) AS quarter FROM public.taken) AS t
$$;

-- In descending order of time: each late row has the clocks of its customer reckoned anew from all that is known
INSERT INTO public.late (sender, kind, at) SELECT 's' || n % 800 || '@x.test', CASE WHEN n % 3 = 0 THEN 'outbound' ELSE 'inbound' END, now() - n * interval '1 second' FROM generate_series(1, 16000) AS n;
SELECT cmp_ok((SELECT count(*) FROM public.taken), '>', 20::bigint, 'clocks are written in many parts');
SELECT cmp_ok(public.growth(), '<', 1.2, 'the last take no more memory than the first');
SELECT * FROM finish();
ROLLBACK;
