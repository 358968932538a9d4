// The console: one page for all paths of web/pages.json.

import { type ComponentType, render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { about, isReachable, learn } from './lib/about';
import { has, login, logOut, start } from './lib/login';
import { place } from './lib/router';
import { AccountPage } from './pages/account';
import { ActorsPage } from './pages/admin/actors';
import { AuditPage } from './pages/admin/audit';
import { ConnectionsPage } from './pages/admin/connections';
import { DevicesPage } from './pages/admin/devices';
import { DeadLettersPage } from './pages/admin/dead-letters';
import { AdminOnly } from './pages/admin/list';
import { StreamPage } from './pages/admin/stream';
import { UsersPage } from './pages/admin/users';
import { LoginPage } from './pages/login';
import { PhonePage } from './pages/phone';
import './style/index.css';
import { Action, Badge, Empty, Loading } from './ui';
import { LANGUAGES, language, setLanguage, words } from './words';

/** The half of the script that draws: a phone that approves a login does without it. */
function LivePage() {
  const [Page, setPage] = useState<ComponentType>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    import('./pages/live').then(({ LivePage }) => setPage(() => LivePage), setError);
  }, []);
  if (error !== undefined) return <Empty>{words.value.unreachable}</Empty>;
  return Page === undefined ? <Loading /> : <Page />;
}

const PAGES: Record<string, ComponentType> = {
  '/': LivePage,
  '/login': LoginPage,
  '/qr': PhonePage,
  '/account': AccountPage,
};

const ADMIN_PAGES: Record<string, ComponentType> = {
  '/admin/actors': ActorsPage,
  '/admin/stream': StreamPage,
  '/admin/users': UsersPage,
  '/admin/devices': DevicesPage,
  '/admin/connections': ConnectionsPage,
  '/admin/dead-letters': DeadLettersPage,
  '/admin/audit': AuditPage,
};

function App() {
  const { path } = place.value;
  const main = useRef<HTMLElement>(null);
  const shown = useRef(path);
  // Who uses a screen reader learns that the page is another one.
  useEffect(() => {
    if (shown.current !== path) main.current?.focus();
    shown.current = path;
  }, [path]);
  useEffect(() => {
    document.documentElement.lang = language.value;
    document.title = `${title(path)} · orinoco`;
  });
  return (
    <>
      <a class="skip" href="#main">
        {words.value.skip}
      </a>
      <Header path={path} />
      <main id="main" ref={main} tabIndex={-1}>
        {isReachable.value || <p class="note warn">{words.value.unreachable}</p>}
        {about.value === undefined ? isReachable.value && <Loading /> : <Page path={path} />}
      </main>
    </>
  );
}

function Page({ path }: { path: string }) {
  const [Open, Admin] = [PAGES[path], ADMIN_PAGES[path]];
  if (login.value.is === 'unreachable') {
    return (
      <Empty>
        {words.value.unreachable} <Action label={words.value.again} onClick={start} />
      </Empty>
    );
  }
  if (Open !== undefined) return <Open />;
  if (Admin === undefined) return <Empty>{words.value.nothing}</Empty>;
  return (
    <AdminOnly>
      <Admin />
    </AdminOnly>
  );
}

function title(path: string): string {
  const { nav, admin, login: logIn, phone } = words.value;
  const titles: Record<string, string> = {
    '/': nav.live,
    '/login': logIn.title,
    '/qr': phone.title,
    '/account': nav.account,
    '/admin/actors': admin.actors,
    '/admin/stream': admin.stream,
    '/admin/users': admin.users,
    '/admin/devices': admin.devices,
    '/admin/connections': admin.connections,
    '/admin/dead-letters': admin['dead-letters'],
    '/admin/audit': admin.audit,
  };
  return titles[path] ?? 'orinoco';
}

function Header({ path }: { path: string }) {
  const { nav, admin } = words.value;
  const isIn = login.value.is === 'in';
  const isAdmin = path.startsWith('/admin/');
  const notices = login.value.is === 'in' ? login.value.me.notices.length : 0;
  return (
    <header>
      <nav aria-label={nav.label}>
        <a class="brand" href="/" aria-label="orinoco">
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M5 21c4 0 4-9 9-9s4 7 8 7 3-4 5-4" />
            <circle cx="27" cy="15" r="2.6" />
          </svg>
          <span>orinoco</span>
        </a>
        <span class="space" />
        <LanguageChoice />
        {isIn ? <Action label={words.value.logOut} onClick={() => logOut()} /> : null}
        {login.value.is === 'out' && path !== '/login' && (
          <a class="button" href="/login">
            {words.value.logIn}
          </a>
        )}
        <div class="tabs">
          <NavLink href="/" is={path} text={nav.live} />
          {isIn && <NavLink href="/account" is={path} text={nav.account} warnings={notices} />}
          {isIn && <NavLink href="/qr" is={path} text={nav.approve} />}
          {has('ADMIN') && <NavLink href="/admin/actors" is={isAdmin ? '/admin/actors' : path} text={nav.admin} />}
        </div>
      </nav>
      {isAdmin && has('ADMIN') && (
        <nav class="sub" aria-label={nav.admin}>
          {(['actors', 'stream', 'users', 'devices', 'connections', 'dead-letters', 'audit'] as const).map((page) => (
            <NavLink key={page} href={`/admin/${page}`} is={path} text={admin[page]} />
          ))}
        </nav>
      )}
    </header>
  );
}

function NavLink(props: { href: string; is: string; text: string; warnings?: number }) {
  const { href, is, text, warnings = 0 } = props;
  return (
    <a class="tab" href={href} aria-current={href === is ? 'page' : undefined}>
      {text}
      {warnings > 0 && (
        <>
          {' '}
          <Badge kind="bad">{words.value.warnings(warnings)}</Badge>
        </>
      )}
    </a>
  );
}

function LanguageChoice() {
  return (
    <select
      aria-label={words.value.language}
      value={language.value}
      onChange={(event) => setLanguage(event.currentTarget.value)}
    >
      {Object.entries(LANGUAGES).map(([code, name]) => (
        <option key={code} value={code} lang={code}>
          {name}
        </option>
      ))}
    </select>
  );
}

void learn();
void start();
render(<App />, document.getElementById('app') as HTMLElement);
