import type { Counter, Gauge, Metrics } from '../core/metrics.js';

/** What a peer counts. Several peers of a process share the metrics and are told apart by `endpoint`. */
export interface PeerMetrics {
  /** Messages understood, by type. */
  readonly received: Counter;
  /** Messages that were not, by reason. */
  readonly malformed: Counter;
  /** Calls being served. */
  readonly inFlight: Gauge;
  /** Calls refused, by the limit that was reached or `closing`. */
  readonly refused: Counter;
  /** Calls that ran longer than their deadline. */
  readonly timedOut: Counter;
  /** Replies sent, by type. */
  readonly replies: Counter;
  /** Replies that did not leave, by reason. */
  readonly dropped: Counter;
  /** Connections that did not come about, by reason. */
  readonly handshakeFailures: Counter;
  /** Stream messages whose handler failed. */
  readonly streamFailures: Counter;
  /** Connections of a bound peer. */
  readonly connections: Gauge;
  /** Messages that wait for peers that do not read. */
  readonly queued: Gauge;
  readonly queuedBytes: Gauge;
}

export function declarePeerMetrics(metrics: Metrics): PeerMetrics {
  return {
    received: metrics.counter({
      name: 'callosum_messages_received_total',
      help: 'Messages received and understood',
      labels: ['type'],
    }),
    malformed: metrics.counter({
      name: 'callosum_messages_malformed_total',
      help: 'Messages that could not be read, or that nobody expected',
      labels: ['reason'],
    }),
    inFlight: metrics.gauge({
      name: 'callosum_calls_in_flight',
      help: 'Calls received and not yet answered',
      labels: ['endpoint'],
    }),
    refused: metrics.counter({
      name: 'callosum_calls_refused_total',
      help: 'Calls refused because of a limit or because the peer is closing',
      labels: ['limit'],
    }),
    timedOut: metrics.counter({
      name: 'callosum_calls_timed_out_total',
      help: 'Calls answered with TimeoutError because they ran longer than their deadline',
    }),
    replies: metrics.counter({
      name: 'callosum_replies_total',
      help: 'Replies handed to the socket',
      labels: ['type'],
    }),
    dropped: metrics.counter({
      name: 'callosum_replies_dropped_total',
      help: 'Replies dropped because their caller is gone or does not read',
      labels: ['reason'],
    }),
    handshakeFailures: metrics.counter({
      name: 'callosum_handshake_failures_total',
      help: 'Clients that did not get through the security handshake',
      labels: ['reason'],
    }),
    streamFailures: metrics.counter({
      name: 'callosum_stream_failures_total',
      help: 'Stream messages whose handler failed',
    }),
    connections: metrics.gauge({
      name: 'callosum_connections',
      help: 'Open connections of a bound peer',
      labels: ['endpoint'],
    }),
    queued: metrics.gauge({
      name: 'callosum_queued_messages',
      help: 'Messages that wait for peers that do not read',
      labels: ['endpoint'],
    }),
    queuedBytes: metrics.gauge({
      name: 'callosum_queued_bytes',
      help: 'Bytes that wait for peers that do not read',
      labels: ['endpoint'],
    }),
  };
}
