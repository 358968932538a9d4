// What a page shows of the daemon: loaded once, or again and again while somebody looks.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

export interface Resource<T> {
  value: T | undefined;
  /** The last try's; `value` is then what was known before. */
  error: unknown;
  reload: () => Promise<void>;
}

/** `everyMs`: 0 for once. A page that is not seen asks for nothing. */
export function useResource<T>(load: () => Promise<T>, everyMs = 0): Resource<T> {
  const [state, setState] = useState<{ value: T | undefined; error: unknown }>({ value: undefined, error: undefined });
  const loader = useRef(load);
  loader.current = load;
  const isShown = useRef(true);
  const reload = useCallback(async () => {
    try {
      const value = await loader.current();
      if (isShown.current) setState({ value, error: undefined });
    } catch (error) {
      if (isShown.current) setState((before) => ({ ...before, error }));
    }
  }, []);
  useEffect(() => {
    isShown.current = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = async () => {
      if (!document.hidden) await reload();
      if (isShown.current && everyMs > 0) timer = setTimeout(again, everyMs);
    };
    void again();
    return () => {
      isShown.current = false;
      clearTimeout(timer);
    };
  }, [reload, everyMs]);
  return { ...state, reload };
}
