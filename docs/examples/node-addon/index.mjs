export {CloseEvent, MessageEvent} from './lib/events.mjs';
export {WebSocketServer} from './lib/server.mjs';
export {WebSocket, configure} from './lib/websocket.mjs';
export {WebSocketError, WebSocketStream} from './lib/stream.mjs';
