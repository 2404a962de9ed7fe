# Tracked tables in databases of other encodings: what clients of any encoding write is logged as it is, or refused, or
# kept; bytes that are no text of the encoding do no harm.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Omni;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = omni_node('encoding');

# write_row DATABASE, CLIENT ENCODING, VALUES: the SQLSTATE of an INSERT into mail.
sub write_row
{
	my ($database, $client, $values) = @_;
	return error_of($node, $database, "SET client_encoding = '$client'; INSERT INTO mail (who, body, extra) VALUES ($values)");
}

foreach my $database (qw(latin2 ascii utf8 japanese))
{
	my $encoding = { latin2 => 'LATIN2', ascii => 'SQL_ASCII', utf8 => 'UTF8', japanese => 'EUC_JP' }->{$database};
	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	omni_setup($node, $database);
	$node->safe_psql($database, <<'SQL');
CREATE TABLE mail (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text, body text, extra json, at timestamptz DEFAULT '2026-03-01 10:00+00');
SELECT omnichannel.track('mail', channel => 'email', customer => '{who}', kind => 'email', body => '{body}', payload => '{extra}',
	thread => 't/{body}', subject => '{body}', occurred_at => '{at}', on_error => 'quarantine');
SQL
}
my $latin = "\xb1\xe6\xea";                      # ąćę in LATIN2
my $utf8 = "\xc4\x85\xc4\x87\xc4\x99";           # ąćę in UTF8

# The database's own letters, and those of a client that writes in another encoding
is(write_row('latin2', 'LATIN2', "'a\@x.test', '$latin', '{\"a\": \"$latin\"}'"), '00000', 'LATIN2 in LATIN2');
is(write_row('latin2', 'UTF8', "'a\@x.test', '$utf8', '{\"a\": \"$utf8\"}'"), '00000', 'UTF8 in LATIN2');
is(write_row('utf8', 'LATIN2', "'a\@x.test', '$latin', '{\"a\": \"$latin\"}'"), '00000', 'LATIN2 in UTF8');
is(write_row('utf8', 'UTF8', "'a\@x.test', '$utf8', '{\"a\": \"$utf8\"}'"), '00000', 'UTF8 in UTF8');
is($node->safe_psql($_, "SET client_encoding = 'UTF8'; SELECT string_agg(DISTINCT body || (payload ->> 'a') || subject || thread, ',') FROM omnichannel.contact"),
	"$utf8$utf8${utf8}t/$utf8", "are the same letters in $_") foreach qw(latin2 utf8);

is(write_row('japanese', 'UTF8', "'a\@x.test', '\xe3\x81\x82', '{\"a\": \"\xe3\x81\x82\"}'"), '00000', 'UTF8 in EUC_JP');
is($node->safe_psql('japanese', "SET client_encoding = 'EUC_JP'; SELECT body || (payload ->> 'a') FROM omnichannel.contact"), "\xa4\xa2\xa4\xa2", 'is read in EUC_JP');

# What the client's or the database's encoding has not
is(write_row('utf8', 'UTF8', "'a\@x.test', '$latin', NULL"), '22021', 'bytes that are no UTF8 are refused');
is(write_row('latin2', 'UTF8', "'a\@x.test', '\xe2\x82\xac', NULL"), '22P05', 'a euro sign is not in LATIN2');
# JSON escapes of letters that the encoding has not: json takes them, jsonb does not.
is(write_row('latin2', 'UTF8', "'a\@x.test', 'escaped', '{\"a\": \"\\u20ac\"}'"), '00000', 'as an escape in a column of type json it is written');
is(write_row('ascii', 'SQL_ASCII', "'a\@x.test', 'escaped', '{\"a\": \"\\u00e9\"}'"), '00000', 'also in SQL_ASCII');
is($node->safe_psql($_, "SELECT as_text, data ->> 'extra' FROM omnichannel.contact_reject"), $_ eq 'ascii' ? 't|{"a": "\\u00e9"}' : 't|{"a": "\\u20ac"}', "and kept in $_")
	foreach qw(latin2 ascii);

# SQL_ASCII takes any bytes: identities, keys, threads and texts of them, cut nowhere.
is(write_row('ascii', 'SQL_ASCII', "'\xff\xfe$latin\@x.test', '$latin', NULL"), '00000', 'any bytes in an address');
is(write_row('ascii', 'SQL_ASCII', "'\xff\xfe$latin\@x.test', '\xe2\x82', NULL"), '00000', 'half a letter');
is(write_row('ascii', 'UTF8', "'$utf8\@x.test', '$utf8', '{\"a\": \"$utf8\"}'"), '00000', 'UTF8');
is(write_row('ascii', 'SQL_ASCII', "'" . "\xc4" x 400 . "', '\xc4', NULL"), '00000', 'bytes that are no address');
is(write_row('ascii', 'SQL_ASCII', "'a\@x.test', '" . "\xc4" x 999 . "', NULL"), '00000', 'bytes that are too long for a subject');
is($node->safe_psql('ascii', "SET client_encoding = 'SQL_ASCII'; SELECT count(*), count(DISTINCT customer_id) FROM omnichannel.contact"), '3|2',
	'two rows of one address have one customer');
is($node->safe_psql('ascii', "SELECT string_agg(sqlstate, ',' ORDER BY reject_id) FROM omnichannel.contact_reject"), '0A000,22023,22001', 'the others wait');
is($node->safe_psql('ascii', "SELECT encode(convert_to(body, 'SQL_ASCII'), 'hex') FROM omnichannel.contact WHERE length(body) = 2"), 'e282', 'the bytes are those that came');
is($node->safe_psql('ascii', 'SELECT omnichannel.retry_rejects()'), '0', 'trying again is no error');
is($node->safe_psql('ascii', "SELECT count(*) FROM mail"), '6', 'and every row is written');

# phone numbers and the normal form of bytes
is(error_of($node, 'ascii', "SET client_encoding = 'SQL_ASCII'; SELECT omnichannel.identify('phone', '601\xa0234\xc2567')"), '22023', 'bytes in a telephone number');
is(error_of($node, 'ascii', "SET client_encoding = 'SQL_ASCII'; SELECT omnichannel.log_contact('email', kind => 'email', value => 'x\xc4')"), '22023', 'bytes in an error');
is(error_of($node, 'latin2', "SET client_encoding = 'UTF8'; SELECT omnichannel.identify('phone', '601\xc2\xa0234\xc2\xa0567')"), '00000',
	'a space that does not break is a space in LATIN2 too');

$node->stop;
done_testing();
