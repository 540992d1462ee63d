// What the page says, in English and Chinese.

const TEXTS = {
  en: {
    title: "Nuptse live",
    tagline: "Speech to text, while you speak",
    skip: "Skip to the words",
    language: "Language of this page",
    controls: "Microphone",
    start: "Start",
    stop: "Stop",
    level: "Level of the microphone",
    microphone: "Microphone",
    transcript: "Transcripts",
    invite: "Press Start and speak. The words appear here.",
    invite_more: "Or drop a recording anywhere on this page.",
    legend_sure: "sure",
    legend_less: "less sure",
    legend_unsure: "unsure",
    legend_partial: "may still change",
    latency_partial: "Words after",
    latency_partial_hint: "From the sound to the first word of it on this page: the median of this session",
    latency_final: "Final after",
    latency_final_hint: "From the end of the last word to the final text: the median of this session",
    seconds: "{} s",
    words: "Add words",
    words_hint: "Names and terms that the model lacks. They are live at once, for everybody on this server.",
    word: "Word",
    word_example: "zermatt",
    word_help: "Its pronunciation may follow the word. Or let the page hear it: the microphone records three seconds.",
    prefer: "Prefer it to words that sound alike",
    say: "Say the word",
    add: "Add",
    adding: "Adding {} …",
    checking: "Checking {} …",
    say_now: "Say “{}” now …",
    is_live: "{} is live.",
    is_removed: "{} is removed.",
    before_live: "Before “{}” goes live:",
    add_anyway: "Add anyway",
    cancel: "Cancel",
    added: "Added words",
    remove: "Remove {}",
    word_first: "Write the word first, then say it.",
    keywords: "Highlight",
    keywords_hint: "Words to mark wherever they are said, with commas between them.",
    keywords_example: "kitchen, lights",
    files: "Recordings",
    choose: "Choose files",
    drop_hint: "or drop them anywhere: WAV, MP3, M4A, video …",
    drop_here: "Drop to recognise",
    recognising: "{} is recognised …",
    file_failed: "{}: {}",
    nothing_said: "No words in it.",
    take_microphone: "Microphone, {}",
    as_text: "Text",
    as_srt: "SRT",
    as_json: "JSON",
    download_as: "Download as {}",
    alternatives: "Instead of “{}”",
    no_alternatives: "No other word came close to “{}”",
    confidence: "{}% sure",
    was: "recognised: {}",
    own_word: "Another word",
    replace: "Replace",
    add_word: "Add to the words",
    token_label: "This server asks for a token.",
    token_use: "Use it",
    token_wrong: "The server does not know this token.",
    idle: "Ready",
    connecting: "Connecting …",
    listening: "Listening",
    finishing: "The last words …",
    again: "Connected again. Nothing is lost.",
    waiting: "Connection lost. Next try in {} s; what you say is kept.",
    gone: "The server does not answer. Start again when it is back.",
    silent: "No sound arrives. Is the microphone muted?",
    unplugged: "The microphone was disconnected.",
    no_permission: "The browser has no permission to use the microphone. Allow it in the address bar.",
    no_microphone: "There is no microphone.",
    busy_microphone: "The microphone can’t be opened: {}",
    insecure: "Browsers give the microphone to https pages and to localhost only. Start the server with a certificate, or open it on its own machine.",
    no_answer: "The server does not answer.",
    full: "The server is full. Next try in {} s.",
    refused: "The server says: {}",
  },
  zh: {
    title: "Nuptse 实时识别",
    tagline: "边说边转成文字",
    skip: "跳到识别结果",
    language: "页面语言",
    controls: "麦克风",
    start: "开始",
    stop: "停止",
    level: "麦克风音量",
    microphone: "麦克风",
    transcript: "识别结果",
    invite: "点“开始”，然后说话，文字会出现在这里。",
    invite_more: "也可以把录音文件拖到页面上。",
    legend_sure: "把握大",
    legend_less: "把握较小",
    legend_unsure: "没有把握",
    legend_partial: "可能还会变",
    latency_partial: "出字延迟",
    latency_partial_hint: "从声音到它的文字第一次出现在页面上：本次会话的中位数",
    latency_final: "定稿延迟",
    latency_final_hint: "从最后一个词说完到文字定稿：本次会话的中位数",
    seconds: "{} 秒",
    words: "添加词语",
    words_hint: "模型不认识的名字和术语。添加后立即生效，对这台服务器上的所有人都有效。",
    word: "词语",
    word_example: "采尔马特",
    word_help: "词语后面可以写读音。也可以念给页面听：麦克风会录三秒。",
    prefer: "读音相近时优先选它",
    say: "念这个词",
    add: "添加",
    adding: "正在添加 {}…",
    checking: "正在检查 {}…",
    say_now: "请念“{}”…",
    is_live: "{} 已生效。",
    is_removed: "{} 已删除。",
    before_live: "“{}”生效之前请注意：",
    add_anyway: "仍然添加",
    cancel: "取消",
    added: "已添加的词语",
    remove: "删除 {}",
    word_first: "请先写下这个词，再念出来。",
    keywords: "高亮",
    keywords_hint: "说到这些词就标出来，用逗号隔开。",
    keywords_example: "厨房，灯",
    files: "录音文件",
    choose: "选择文件",
    drop_hint: "也可以直接拖到页面上：WAV、MP3、M4A、视频……",
    drop_here: "松开即可识别",
    recognising: "正在识别 {}…",
    file_failed: "{}：{}",
    nothing_said: "里面没有说话声。",
    take_microphone: "麦克风，{}",
    as_text: "文本",
    as_srt: "SRT",
    as_json: "JSON",
    download_as: "下载为 {}",
    alternatives: "“{}”可以换成",
    no_alternatives: "没有与“{}”接近的词",
    confidence: "把握 {}%",
    was: "识别结果：{}",
    own_word: "换成别的词",
    replace: "替换",
    add_word: "添加到词语",
    token_label: "这台服务器需要令牌。",
    token_use: "使用",
    token_wrong: "服务器不认识这个令牌。",
    idle: "就绪",
    connecting: "正在连接…",
    listening: "正在听",
    finishing: "正在处理最后几个词…",
    again: "已重新连接，没有丢失内容。",
    waiting: "连接中断，{} 秒后重试；您说的话会保留。",
    gone: "服务器没有响应。等它恢复后请重新开始。",
    silent: "没有声音。麦克风是不是静音了？",
    unplugged: "麦克风已断开。",
    no_permission: "浏览器没有使用麦克风的权限，请在地址栏里允许。",
    no_microphone: "没有找到麦克风。",
    busy_microphone: "无法打开麦克风：{}",
    insecure: "浏览器只允许 https 页面和 localhost 使用麦克风。请为服务器配置证书，或在服务器本机上打开本页。",
    no_answer: "服务器没有响应。",
    full: "服务器已满，{} 秒后重试。",
    refused: "服务器提示：{}",
  },
};

const KEPT = "nuptse-language";
let current = localStorage.getItem(KEPT) || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");

/** The text of a key in the page's language, its {} filled in order. */
export function t(key, ...values) {
  return values.reduce((text, value) => text.replace("{}", () => value), TEXTS[current][key]);
}

/** The page's language, as browsers name it. */
export function locale() {
  return current === "zh" ? "zh-CN" : "en";
}

/** Write the texts into the page: data-t is the content, data-t-label, -title and -placeholder are attributes. */
export function translate() {
  document.documentElement.lang = locale();
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const [name, attribute] of [["tLabel", "aria-label"], ["tTitle", "title"], ["tPlaceholder", "placeholder"]]) {
    const selector = `[data-${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}]`;
    for (const element of document.querySelectorAll(selector)) element.setAttribute(attribute, t(element.dataset[name]));
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === current));
  }
}

/** Change the language, for this visit and the next. */
export function choose(language) {
  current = language;
  localStorage.setItem(KEPT, language);
  translate();
}
