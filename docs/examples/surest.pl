#!/usr/bin/perl
# A policy in another language: Perl with its own JSON::PP, nothing to install.
# In a scenario beside this file:
#   policy: {use: process, with: {command: ["perl", "surest.pl"], settings: {min_confidence: 0.8}}}
#
# An event at or above min_confidence sends a thumbnail while the day's allowance carries it, any other event its
# verdict. One JSON object per line on standard input, one answer per line on standard output (docs/policies.md).
use strict;
use warnings;
use JSON::PP;

$| = 1;    # an answer must leave at once
my $json = JSON::PP->new->utf8->canonical;
my $min_confidence = 0.7;

sub say_line { print $json->encode(shift), "\n" }

while ( my $line = <STDIN> ) {
    my $request = $json->decode($line);
    my $type    = $request->{type};
    if ( $type eq 'hello' ) {
        $min_confidence = $request->{settings}{min_confidence} // $min_confidence;
        say_line( { type => 'ready', protocol => 1, capabilities => ['ask'] } );
    }
    elsif ( $type eq 'ask' ) {
        # Every question that the spacecraft has a prior for.
        my @schemas = sort keys %{ $request->{seen}{priors} };
        say_line( { type => 'asked', id => $request->{id}, schemas => \@schemas } );
    }
    elsif ( $type eq 'decide' ) {
        say_line( { type => 'decision', id => $request->{id}, %{ decide( $request->{seen} ) } } );
    }
    elsif ( $type eq 'bye' ) {
        last;
    }
    else {
        say_line( { type => 'error', id => $request->{id}, message => "unknown request $type" } );
    }
}

sub decide {
    my $seen   = shift;
    my @events = grep { $_->{status} eq 'event' } @{ $seen->{verdicts} };
    return { action => 'nothing', reason => 'no event' } unless @events;
    my ($best) = sort { $b <=> $a } map { $_->{confidence} // 0 } @events;
    my $cost = $seen->{costs_bytes}{thumbnail};
    if ( defined $cost && $best >= $min_confidence && $cost <= $seen->{allowance}{next_day_bytes} ) {
        return { action => 'thumbnail', priority => 1, reason => "event, confidence $best" };
    }
    return { action => 'verdict', priority => 0, reason => "event, confidence $best" };
}
