// What the daemon answers: docs/rest.md and docs/login.md of this repository.

/** GET /api/v1/console */
export interface About {
  /** What QR codes point at. */
  publicUrl: string;
  socketUrl: string;
  streamPublic: boolean;
  signup: 'open' | 'closed';
  version: string;
}

export interface Tokens {
  accessToken: string;
  refreshToken: string;
  /** Seconds. */
  expiresIn: number;
}

export type Role = 'USER' | 'ADMIN';

export interface Account {
  id: string;
  email: string;
  orinId: string | null;
  roles: Role[];
  enabled: boolean;
  createdAt: string;
  updatedAt: string;
}

/** A refresh token came again after it had been replaced. */
export interface Notice {
  type: 'refreshTokenReuse';
  session: string;
  at: string;
}

export type Me = Account & { notices: Notice[] };

export interface Session {
  id: string;
  device: string;
  address: string;
  clientId: string | null;
  createdAt: string;
  lastUsedAt: string;
  expiresAt: string;
  current: boolean;
}

export interface CoordinateData {
  coordX: number;
  coordY: number;
  timestamp: string;
  source: 'coordX' | 'coordY';
  device: string;
  offset: number;
  epoch: string;
}

export type ChallengeStatus = 'PENDING' | 'SCANNED' | 'APPROVED' | 'DENIED' | 'EXPIRED' | 'CANCELLED' | 'EXCHANGED';

export interface Challenge {
  challengeId: string;
  status: ChallengeStatus;
  createdAt: string;
  expiresAt: string;
  /** Seconds. */
  expiresIn: number;
  otc?: string;
}

/** A challenge as the phone sees it that scanned: who asks. */
export interface Asked extends Challenge {
  address: string;
  userAgent: string;
  clientId?: string;
}

export interface Connection {
  kind: 'websocket' | 'sse';
  sessionId: string;
  clientId: string | null;
  clientIP: string;
  connectedAt: string;
}

export interface DeviceCredential {
  orinId: string;
  revoked: boolean;
  createdAt: string;
  updatedAt: string;
}

export interface AuditEntry {
  id: string;
  at: string;
  event: string;
  userId: string | null;
  address: string | null;
  detail: string;
}

/** What could not be understood. */
export interface DeadLetter {
  cursor: string;
  id: string | null;
  at: string;
  topic: string;
  reason: string;
  /** Base64, of its first bytes. */
  payload: string;
  payloadBytes: number;
}

/** What became of a letter that was replayed. */
export interface Replayed {
  cursor: string;
  topic: string;
  outcome: 'published' | 'produced' | 'skipped';
  reason?: string;
}

/** Who holds a lease: a daemon, by the identity of its journal. */
export interface Lease {
  owner: string | null;
  epoch: number | null;
}

/** GET /api/v1/admin/stream */
export interface StreamState {
  daemon: string;
  journal: { records: number; bytes: number; bytesMax: number; full: boolean };
  ingest: Lease;
  partitions: (Lease & { partition: number; lagRecords: number | null })[];
  leaseError?: string;
}

export type ActorStatus = 'starting' | 'running' | 'restarting' | 'stopping' | 'stopped';

export interface Mailbox {
  depth: number;
  capacity: number;
  rejected: number;
  dropped: number;
  handled: number;
  current?: { kind: string; for_ms: number };
}

interface Quantiles {
  count: number;
  p50_us: number;
  p99_us: number;
  max_us: number;
}

export interface PoolChild {
  key: string;
  path: string;
  status: ActorStatus;
  incarnation: number;
  last_failure?: string;
  mailbox: Mailbox;
}

export interface ActorNode {
  id: string;
  path: string;
  kind: 'supervisor' | 'pool' | 'partition' | 'worker';
  strategy?: string;
  status: ActorStatus;
  incarnation: number;
  restarts: number;
  restarts_in_period: number;
  restart_in_ms?: number;
  last_failure?: { reason: string; ago_ms: number };
  mailbox?: Mailbox;
  timing?: { waiting: Quantiles; handling: Quantiles; hung: number };
  pool?: { live: number; max_children: number; restarted: number; given_up: number; children: PoolChild[] };
  children?: ActorNode[];
}

export interface ActorTree {
  actors: { actors: number; root: ActorNode };
  killAllowed: boolean;
}

/** A list, and where its next page begins. */
export type Page<Name extends string, Item> = Record<Name, Item[]> & { next?: string };
