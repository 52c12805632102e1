export class WebSocketStream {}
export class WebSocketError extends DOMException {}
