# Omni.pm: what the TAP tests share. A node with the extension set up, and sessions that stay warm.
package Omni;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;

our @EXPORT = qw(omni_node omni_setup omni_standby value query_begin error_of);

# omni_node NAME, OPTION => VALUE ...: a started node; the options are those of init(), conf => TEXT is added to
# postgresql.conf.
sub omni_node
{
	my ($name, %options) = @_;
	my $conf = delete $options{conf};
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%options);
	$node->append_conf('postgresql.conf', $conf) if defined $conf;
	$node->start;
	return $node;
}

# omni_setup NODE, DATABASE: creates the extension and its tables.
sub omni_setup
{
	my ($node, $database) = @_;

	$node->safe_psql($database // 'postgres',
		"CREATE EXTENSION omnichannel CASCADE; CALL omnichannel.setup('PLN', 'PL', 'Europe/Warsaw')");
	return;
}

# omni_standby PRIMARY, NAME: a started hot standby that has caught up.
sub omni_standby
{
	my ($primary, $name) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->backup('base');
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;
	$primary->wait_for_catchup($standby);
	return $standby;
}

# value SESSION, QUERY: what a query answers in a session that stays open.
sub value
{
	my ($session, $query) = @_;

	return $session->query_safe($query);
}

# query_begin SESSION, STATEMENTS: starts them in a session that stays open, and does not wait for them; what they print,
# be it at once, is there for the session's next query_until().
sub query_begin
{
	my ($session, $statements) = @_;

	$session->{stdin} .= $statements;
	$session->{run}->pump_nb while length $session->{stdin};
	return;
}

# error_of NODE, DATABASE, STATEMENT, ROLE: the SQLSTATE that a statement raises, 00000 for none.
sub error_of
{
	my ($node, $database, $statement, $role) = @_;
	my ($code, $out, $err) = $node->psql($database, "\\set VERBOSITY sqlstate\n$statement",
		on_error_stop => 1, defined $role ? (extra_params => [ '-U', $role ]) : ());

	return '00000' if $code == 0;
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $err;
}

1;
