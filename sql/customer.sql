-- Customers and their identities.
\set SHOW_CONTEXT never
\set ON_ERROR_ROLLBACK on

-- ITU-T E.164
SELECT country, omnichannel.calling_code(country) FROM unnest('{PL,DE,US,CA,JM,KZ,RU,VA,IT,GB,IM,AX,XK,ZW,AQ}'::text[]) AS country;
SELECT omnichannel.calling_code('ZZ') IS NULL AS unknown, omnichannel.calling_code('pl') IS NULL AS lower_case,
	omnichannel.calling_code('') IS NULL AS empty, omnichannel.calling_code(NULL) IS NULL AS null;

-- Every ISO 3166-1 code has one but those of uninhabited islands without a plan of their own.
SELECT count(*) FROM unnest('{AD,AE,AF,AG,AI,AL,AM,AO,AQ,AR,AS,AT,AU,AW,AX,AZ,BA,BB,BD,BE,BF,BG,BH,BI,BJ,BL,BM,BN,BO,BQ,BR,BS,BT,BV,BW,BY,BZ,CA,CC,CD,CF,CG,CH,CI,CK,CL,CM,CN,CO,CR,CU,CV,CW,CX,CY,CZ,DE,DJ,DK,DM,DO,DZ,EC,EE,EG,EH,ER,ES,ET,FI,FJ,FK,FM,FO,FR,GA,GB,GD,GE,GF,GG,GH,GI,GL,GM,GN,GP,GQ,GR,GS,GT,GU,GW,GY,HK,HM,HN,HR,HT,HU,ID,IE,IL,IM,IN,IO,IQ,IR,IS,IT,JE,JM,JO,JP,KE,KG,KH,KI,KM,KN,KP,KR,KW,KY,KZ,LA,LB,LC,LI,LK,LR,LS,LT,LU,LV,LY,MA,MC,MD,ME,MF,MG,MH,MK,ML,MM,MN,MO,MP,MQ,MR,MS,MT,MU,MV,MW,MX,MY,MZ,NA,NC,NE,NF,NG,NI,NL,NO,NP,NR,NU,NZ,OM,PA,PE,PF,PG,PH,PK,PL,PM,PN,PR,PS,PT,PW,PY,QA,RE,RO,RS,RU,RW,SA,SB,SC,SD,SE,SG,SH,SI,SJ,SK,SL,SM,SN,SO,SR,SS,ST,SV,SX,SY,SZ,TC,TD,TF,TG,TH,TJ,TK,TL,TM,TN,TO,TR,TT,TV,TW,TZ,UA,UG,UM,US,UY,UZ,VA,VC,VE,VG,VI,VN,VU,WF,WS,YE,YT,ZA,ZM,ZW}'::text[]) AS country
WHERE omnichannel.calling_code(country) IS NULL;

-- Telephone numbers as people and exchanges write them; the company is in Poland.
SELECT written, omnichannel.normalise_identity('phone', written) FROM unnest(ARRAY['601 234 567', '+48 601-234-567',
	'0048601234567', '48601234567', '022 123 45 67', '(22) 123.45.67', 'tel:+49 (0) 30 901820', '+1 (212) 555-0100',
	'00 1 212 555 0100', E'+48\u00a0601\u2011234\u2011567', '4812345678', '+390669812345', 'tel:+48-601-234-567;ext=12', '601 234 567;ext=1-2;isub=a%20b;verified',
	'tel:+48601234567;phone-context=+48']) AS written;
BEGIN;
UPDATE omnichannel.company SET country = 'GB', calling_code = '+44';
SELECT omnichannel.normalise_identity('phone', '020 7946 0018'), omnichannel.normalise_identity('phone', '442079460018');
UPDATE omnichannel.company SET country = 'IT', calling_code = '+39';
SELECT omnichannel.normalise_identity('phone', '06 6982 1234') AS zero_stays;
UPDATE omnichannel.company SET country = 'US', calling_code = '+1';
SELECT omnichannel.normalise_identity('phone', '1 (212) 555-0100'), omnichannel.normalise_identity('phone', '212-555-0100'),
	omnichannel.normalise_identity('phone', '011 48 601 234 567');
UPDATE omnichannel.company SET country = 'HU', calling_code = '+36';
SELECT omnichannel.normalise_identity('phone', '06 1 234 5678');
UPDATE omnichannel.company SET country = 'RU', calling_code = '+7';
SELECT omnichannel.normalise_identity('phone', '8 (495) 123-45-67'), omnichannel.normalise_identity('phone', '8 800 555 35 35');
ROLLBACK;

-- E-mail addresses
SELECT written, omnichannel.normalise_identity('email', written) FROM unnest(ARRAY['Anna@Example.COM', '  anna@example.com ',
	'"Nowak, Anna" <Anna@example.com>', 'mailto:anna@example.com', 'anna@example.com.', '"odd@local"@example.com',
	'root@localhost', 'dot.@docomo.example', 'a@[192.0.2.1]', 'A@[IPv6:2001:db8::1]', 'a@xn--w-uga1v8h.pl', '"a@b"@x-1.example', 'a@mail_1.example',
	'mailto:anna@example.com?subject=Order%2017&cc=x@example.com', 'mailto:anna%2Bshop@example.com?', 'MAILTO:Anna%40example.com']) AS written;
-- Blanks around addresses and numbers, seen or not, as U+00A0 and U+200B, are none of theirs.
SELECT kind, array_agg(DISTINCT omnichannel.normalise_identity(kind, replace(pattern, '_', blank)))
FROM (VALUES ('email', '_anna@example.com_'), ('email', 'Anna_<_anna@example.com_>_'), ('email', '_mailto:_anna@example.com_._'), ('phone', '_+48_601_234_567_'),
	('account', '_17_'), ('social', '_forum:Anna_')) AS written (kind, pattern), unnest(ARRAY[E'\u00a0', E'\u200b', E'\u2007', E'\u202f', E'\u202c', E'\ufeff', E'\u3000',
	E'\u00ad', E'\u200e', E'\U000e0020', E'\u0085', E' \u00a0\t\u200b']) AS blank
GROUP BY kind ORDER BY kind;
-- Other scripts: letters with accents are one character (NFC) in lower case, but none turns into one of ASCII.
SELECT written, omnichannel.normalise_identity('email', written) FROM unnest(ARRAY['ŻÓŁW@Example.pl', normalize('ŻÓŁW@example.pl', NFD), 'ΟΔΌΣ@παράδειγμα.gr',
	'用户@例子.中国', E'a@نامه\u200cای.com', 'İ@b.pl', 'I' || E'\u0307' || '@b.pl', 'J' || E'\u030c' || '@b.pl']) AS written;
SELECT omnichannel.normalise_identity('social', E'Network:\u212aelvin İ I') = E'network:\u212aelvin İ i' AS kept;
SELECT count(*) FILTER (WHERE first !~ '[^\x01-\x7f]') AS ascii, count(*) FILTER (WHERE first <> omnichannel.normalise_identity('email', first)) AS unstable, count(*) > 50000 AS all
FROM (SELECT omnichannel.identity_or_null('email', chr(code) || '@b' || chr(code) || '.pl') AS first FROM generate_series(128, 131071) AS code
	WHERE code NOT BETWEEN 55296 AND 57343) AS letter WHERE first IS NOT NULL;
-- No addresses
SELECT written FROM unnest(ARRAY['a@[', 'a@[]', 'a@]', 'a@[192.0.2.1', 'a@[a b]', 'a@b.pl/', 'a@b!c.pl', 'a@b.pl?subject=x', 'a@b:25', 'a@"b"', 'a@(b)', 'a@b.pl\', 'a@b|c',
	E'an\u00a0na@b.pl', E'anna@b\u200b.pl', E'\u212a@b.pl', E'a\u037eb@c.pl', 'mailto:?to=a@b.pl', 'mailto:a@b.pl?to=c@d.pl', 'mailto:a@b.pl?subject=x&TO=c@d.pl', 'mailto:a@b.pl,c@d.pl',
	'mailto:a%2Cc@b.pl', 'mailto:a%20b@c.pl', 'mailto:%00@b.pl', 'mailto:a@b.pl%2E', 'mailto:a%4@b.pl', 'mailto:a%', 'mailto:%C3%A9@b.pl', 'mailto:mailto%3Aa@b.pl', 'mailto:',
	'mailto:a%0D%0ABcc:x@b.pl', E'\u00a0', '<>', '@', 'mailto:a@b.pl/?subject=x', '&@&']) AS written
WHERE omnichannel.identity_or_null('email', written) IS NOT NULL;

-- Bad input
SELECT omnichannel.identify('email', NULL);
SELECT omnichannel.identify(NULL, 'anna@example.com');
SELECT omnichannel.identify('fax', '1');
SELECT omnichannel.identify('email', '');
SELECT omnichannel.identify('email', '   ');
SELECT omnichannel.identify('email', 'anna');
SELECT omnichannel.identify('email', '@example.com');
SELECT omnichannel.identify('email', 'anna@');
SELECT omnichannel.identify('email', 'an na@example.com');
SELECT omnichannel.identify('email', 'anna@@example.com');
SELECT omnichannel.identify('email', 'anna@home@example.com');
SELECT omnichannel.identify('email', 'anna@example..com');
SELECT omnichannel.identify('email', 'anna@.example.com');
SELECT omnichannel.identify('email', 'anna@-example.com');
SELECT omnichannel.identify('email', 'anna@example-.com');
SELECT omnichannel.identify('email', 'anna@-');
SELECT omnichannel.identify('email', 'anna@example.com>');
SELECT omnichannel.identify('email', 'anna@example.com/');
SELECT omnichannel.identify('email', 'mailto:anna@example.com?to=b@example.com');
SELECT omnichannel.identify('email', 'mailto:an%na@example.com');
SELECT omnichannel.identify('email', 'mailto:%c3%b3@example.com');
SELECT omnichannel.identify('email', repeat('a', 400) || '@example.com');
SELECT omnichannel.identify('phone', '12');
SELECT omnichannel.identify('phone', '+0123456789');
SELECT omnichannel.identify('phone', '+123456789012345678');
SELECT omnichannel.identify('phone', '601 234 567 ext 12');
SELECT omnichannel.identify('phone', '601 234 567;');
SELECT omnichannel.identify('phone', '601 234 567;ext=');
SELECT omnichannel.identify('phone', '601 234 567;602 345 678');
SELECT omnichannel.identify('phone', '601 234 567;ext=1 2');
SELECT omnichannel.identify('phone', 'tel:7042;phone-context=example.com');
SELECT omnichannel.identify('phone', ';ext=12');
SELECT omnichannel.identify('account', repeat('9', 1001));
SELECT omnichannel.identify('email', convert_from('\x61c3406578'::bytea, 'UTF8'));

-- One customer for all ways to write an address; none is made where none is wanted.
BEGIN;
SELECT omnichannel.identify('email', 'case@customer.test', "create" => false) IS NULL AS unknown;
SELECT omnichannel.identify('email', 'Case@Customer.test') = omnichannel.identify('email', 'case@customer.TEST') AS same;
SELECT count(*) FROM omnichannel.identity WHERE value = 'case@customer.test';
SELECT omnichannel.identify('email', 'case@customer.test', "create" => NULL) = omnichannel.identify('email', 'case@customer.test', false) AS same;
-- Each customer has an identity, each identity a customer.
SELECT count(*) FROM omnichannel.identity AS i LEFT JOIN omnichannel.customer AS c USING (customer_id) WHERE c IS NULL;
-- A merged customer's identity leads to the one that is kept.
UPDATE omnichannel.customer SET merged_into = omnichannel.identify('email', 'keep@customer.test')
WHERE customer_id = omnichannel.identify('email', 'case@customer.test');
SELECT omnichannel.identify('email', 'case@customer.test') = omnichannel.identify('email', 'keep@customer.test') AS merged;
SELECT omnichannel.customer_root(i.customer_id) = omnichannel.identify('email', 'keep@customer.test') AS root
FROM omnichannel.identity AS i WHERE i.value = 'case@customer.test';
SELECT omnichannel.customer_root(-1) IS NULL AS none;
ROLLBACK;

-- Kinds of the company's own
BEGIN;
INSERT INTO omnichannel.identity_kind (kind, name, normal_form, pattern, strong) VALUES ('loyalty', 'Loyalty card', 'lower', 'k[0-9]{4}|x', true);
SELECT omnichannel.normalise_identity('loyalty', ' K1234 ');
SELECT omnichannel.normalise_identity('loyalty', 'K12345');
SELECT omnichannel.normalise_identity('loyalty', 'kx');
UPDATE omnichannel.identity_kind SET pattern = NULL WHERE kind = 'loyalty';
SELECT omnichannel.normalise_identity('loyalty', 'K12345');
\set VERBOSITY terse
UPDATE omnichannel.identity_kind SET pattern = 'k(' WHERE kind = 'loyalty';
UPDATE omnichannel.identity_kind SET normal_form = 'upper' WHERE kind = 'loyalty';
\set VERBOSITY default
DELETE FROM omnichannel.identity_kind WHERE kind = 'loyalty';
SELECT omnichannel.normalise_identity('loyalty', 'K12345');
ROLLBACK;

-- What customers cannot be
\set VERBOSITY terse
BEGIN;
INSERT INTO omnichannel.customer (customer_id, merged_into) VALUES (-1, -1);
INSERT INTO omnichannel.customer (language) VALUES ('polish language');
INSERT INTO omnichannel.customer (preferred_channel) VALUES ('fax');
INSERT INTO omnichannel.customer (name) VALUES ('');
ROLLBACK;

\set VERBOSITY default
-- Without rights
CREATE ROLE regress_customer;
SET ROLE regress_customer;
SELECT omnichannel.identify('email', 'anna@example.com');
RESET ROLE;
GRANT USAGE ON SCHEMA omnichannel TO regress_customer;
SET ROLE regress_customer;
SELECT omnichannel.identify('email', 'anna@example.com');
SELECT omnichannel.customer_root(1);
RESET ROLE;
REVOKE USAGE ON SCHEMA omnichannel FROM regress_customer;
DROP ROLE regress_customer;

-- The channels
\set VERBOSITY terse
SELECT channel, medium, cost, opens_request FROM omnichannel.channel ORDER BY channel COLLATE "C";
INSERT INTO omnichannel.channel (channel, name, medium, cost) VALUES ('bad code', 'x', 'mail', 1);
INSERT INTO omnichannel.channel (channel, name, medium, cost) VALUES ('fax', 'x', 'mail', -1);
