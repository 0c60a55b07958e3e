// The browser side of connecting, without any package: what a frontend client does.

/**
 * Connect an integration in a popup. Call it inside a click. `session` is a promise of
 * `{token, api_url, websocket_url}`; the result is `{connectionId, providerConfigKey}`.
 *
 * The popup waits on an empty page until the WebSocket's first frame names the socket; then it
 * goes to the API, on to the provider and back, and the result arrives on the socket.
 */
export function connectWithPopup(integration, session) {
  const popup = window.open('', '_blank', 'width=520,height=680,scrollbars=yes,resizable=yes');
  if (!popup) return Promise.reject(new Error('The browser blocked the popup. Allow it, try again.'));
  popup.document.title = 'One moment…';
  return new Promise((resolve, reject) => {
    let socket = null;
    let watch = null;
    const end = (settle, value) => {
      clearInterval(watch);
      socket?.close();
      setTimeout(() => popup.close(), 500);
      settle(value);
    };
    watch = setInterval(() => {
      if (popup.closed) end(reject, new Error('The window was closed before approving.'));
    }, 500);
    session.then(({ token, api_url: api, websocket_url: address }) => {
      socket = new WebSocket(address);
      socket.onmessage = (event) => {
        const frame = JSON.parse(event.data);
        if (frame.message_type === 'connection_ack') {
          const url = new URL(`${api}/oauth/connect/${encodeURIComponent(integration)}`);
          url.searchParams.set('connect_session_token', token);
          url.searchParams.set('ws_client_id', frame.ws_client_id);
          popup.location.replace(url.href);
        } else if (frame.message_type === 'success') {
          end(resolve, {
            connectionId: frame.connection_id, providerConfigKey: frame.provider_config_key,
          });
        } else if (frame.message_type === 'error') {
          end(reject, new Error(frame.error_desc || frame.error_type));
        }
      };
      socket.onerror = () => end(reject, new Error('The WebSocket could not be opened.'));
    }).catch((error) => end(reject, error));
  });
}

/** Open the Connect UI over this page; `onEvent` gets what it tells. Returns a way to close it. */
export function openConnectUI({ url, apiUrl, token, onEvent }) {
  const address = new URL(url.endsWith('/') ? url : `${url}/`);
  address.searchParams.set('apiURL', apiUrl);
  const frame = document.createElement('iframe');
  frame.id = 'connect-ui';
  frame.title = 'Connect an account';
  frame.src = address.href;
  const before = document.activeElement;
  const close = () => {
    window.removeEventListener('message', listen);
    frame.remove();
    before?.focus();
  };
  const listen = (event) => {
    if (event.source !== frame.contentWindow || event.origin !== address.origin) return;
    if (event.data?.type === 'ready') {
      frame.contentWindow.postMessage({ type: 'session_token', sessionToken: token },
        address.origin);
    } else if (event.data?.type === 'close') {
      close();
    }
    onEvent(event.data);
  };
  window.addEventListener('message', listen);
  document.body.append(frame);
  return close;
}
