package orinoco;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.web.socket.CloseStatus;
import org.springframework.web.socket.TextMessage;
import org.springframework.web.socket.WebSocketSession;
import org.springframework.web.socket.config.annotation.EnableWebSocket;
import org.springframework.web.socket.config.annotation.WebSocketConfigurer;
import org.springframework.web.socket.config.annotation.WebSocketHandlerRegistry;
import org.springframework.web.socket.handler.ConcurrentWebSocketSessionDecorator;
import org.springframework.web.socket.handler.TextWebSocketHandler;

/**
 * Plain WebSockets on {@code /ws}, each of which is sent every line that comes by TCP to the port {@code lines.port}; as the framework's manual
 * advises, through a decorator that bounds how long and how much a slow session may be behind.
 */
@SpringBootApplication
@EnableWebSocket
public class FanOut extends TextWebSocketHandler implements WebSocketConfigurer {
  private static final int SEND_TIME_MS_MAX = 10_000;
  private static final int BEHIND_BYTES_MAX = 524_288;

  private final Map<String, WebSocketSession> sessions = new ConcurrentHashMap<>();

  public static void main(String[] arguments) {
    SpringApplication.run(FanOut.class, arguments);
  }

  @Override
  public void registerWebSocketHandlers(WebSocketHandlerRegistry registry) {
    registry.addHandler(this, "/ws");
  }

  @Override
  public void afterConnectionEstablished(WebSocketSession session) {
    sessions.put(session.getId(), new ConcurrentWebSocketSessionDecorator(session, SEND_TIME_MS_MAX, BEHIND_BYTES_MAX));
  }

  @Override
  public void afterConnectionClosed(WebSocketSession session, CloseStatus status) {
    sessions.remove(session.getId());
  }

  @Bean
  ServerSocket lines(@Value("${lines.port}") int port) throws IOException {
    ServerSocket server = new ServerSocket(port, 1, InetAddress.getLoopbackAddress());
    Thread thread = new Thread(() -> serveLines(server), "lines");
    thread.setDaemon(true);
    thread.start();
    return server;
  }

  private void serveLines(ServerSocket server) {
    try (var socket = server.accept();
        var reader = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        TextMessage message = new TextMessage(line);
        for (WebSocketSession session : sessions.values()) {
          session.sendMessage(message);
        }
      }
    } catch (IOException error) {
      // The benchmark notices what is missing.
      System.err.println("the lines ended: " + error);
    }
  }
}
