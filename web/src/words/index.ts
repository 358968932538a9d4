// Languages. English is the measure: the others have the same words, or the compiler says so.

import { computed, signal } from '@preact/signals';
import { en } from './en';
import { ko } from './ko';

export type Words = typeof en;
export type Language = 'en' | 'ko';

export const LANGUAGES: Record<Language, string> = { en: 'English', ko: '한국어' };
const STORED = 'orinoco.language';
const ALL: Record<Language, Words> = { en, ko };

/** What was chosen, else what the browser asks for. */
export const language = signal<Language>(preferred());
export const words = computed(() => ALL[language.value]);

function preferred(): Language {
  const wanted = [localStorage.getItem(STORED), ...navigator.languages].map((code) => code?.slice(0, 2));
  return wanted.find((code): code is Language => code !== undefined && code in LANGUAGES) ?? 'en';
}

export function setLanguage(code: string) {
  if (!(code in LANGUAGES)) return;
  localStorage.setItem(STORED, code);
  language.value = code as Language;
}
