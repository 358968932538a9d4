-- Accounts, the credentials of devices, and the audit log. Times are this server's.
--
-- The unique constraints decide who gets an e-mail address and a device. Names are compared and sorted by bytes (collation "C").

create table users (
    -- Never given twice: accounts are disabled, not deleted.
    id bigint generated always as identity primary key check (id > 0),
    -- Trimmed and in lower case. This constraint stands before that of orin_id, so that it is the one which is violated first.
    email text collate "C" not null constraint users_email_key unique,
    -- PHC string format.
    password_hash text not null,
    -- The device bound to the account: a name, not a secret.
    orin_id text collate "C" constraint users_orin_id_key unique,
    enabled boolean not null default true,
    -- Logins of an older generation have ended. Never falls.
    generation bigint not null default 0 check (generation >= 0),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table user_roles (
    user_id bigint not null references users (id),
    role text not null check (role in ('USER', 'ADMIN')),
    primary key (user_id, role)
);

create table device_credentials (
    device text collate "C" primary key,
    -- PHC string format. Null: revoked, which is not the same as never made.
    secret_hash text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table audit (
    -- The oldest go first: those below the newest by more than is to be kept.
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    -- OWASP Logging Vocabulary Cheat Sheet.
    event text not null,
    -- No reference: a line may name an account that never was.
    user_id bigint,
    address text,
    detail text not null
);
