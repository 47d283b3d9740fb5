package escape

// callTable is every system call that the fuzzer makes: its number, its name and the sorts of its
// arguments:
//
//	f a descriptor     p a path        b a buffer      v a vector of buffers
//	a an address       h a message     k a process     s a signal
//	i flags            x anything
//
// Calls that only end or stop the caller (exit, pause, rt_sigreturn) are left out: they would end
// each round and try nothing. The names and sorts are those of gVisor's strace (linux64_amd64.go).
const callTable = `
0:read:fbx 1:write:fbx 2:open:pii 3:close:f 4:stat:pb 5:fstat:fb 6:lstat:pb 7:poll:bxx
8:lseek:xxx 9:mmap:xxiifx 10:mprotect:xxx 11:munmap:xx 12:brk:x 13:rt_sigaction:sbbx
14:rt_sigprocmask:ibbx 16:ioctl:fxx 17:pread64:fbxx 18:pwrite64:fbxx 19:readv:fvx 20:writev:fvx
21:access:pi 22:pipe:b 23:select:xbbbb 24:sched_yield: 25:mremap:xxxxx 26:msync:xxx
27:mincore:xxx 28:madvise:xxx 29:shmget:xxx 30:shmat:xxx 31:shmctl:xxx 32:dup:f 33:dup2:ff
35:nanosleep:bb 36:getitimer:ib 37:alarm:x 38:setitimer:ibb 39:getpid: 40:sendfile:ffxx
41:socket:iii 42:connect:fax 43:accept:fbx 44:sendto:fxxxax 45:recvfrom:fxxxbx 46:sendmsg:fhx
47:recvmsg:fhx 48:shutdown:fx 49:bind:fax 50:listen:fx 51:getsockname:fbx 52:getpeername:fbx
53:socketpair:iiix 54:setsockopt:fiibx 55:getsockopt:fiibb 56:clone:ixxxx 57:fork:
58:vfork: 59:execve:pbb 61:wait4:kbib 62:kill:ks 63:uname:b 64:semget:xxx 65:semop:xxx
66:semctl:xxxx 67:shmdt:x 68:msgget:xx 69:msgsnd:xxxx 70:msgrcv:xxxxx 71:msgctl:xxx 72:fcntl:fxx
73:flock:fx 74:fsync:f 75:fdatasync:f 76:truncate:px 77:ftruncate:fx 78:getdents:fxx
79:getcwd:bx 80:chdir:p 81:fchdir:f 82:rename:pp 83:mkdir:pi 84:rmdir:p 85:creat:pi 86:link:pp
87:unlink:p 88:symlink:pp 89:readlink:pbx 90:chmod:pi 91:fchmod:fi 92:chown:pxx 93:fchown:fxx
94:lchown:pxx 95:umask:x 96:gettimeofday:bx 97:getrlimit:xx 98:getrusage:xb 99:sysinfo:x
100:times:x 101:ptrace:ikxx 102:getuid: 103:syslog:xxx 104:getgid: 105:setuid:x 106:setgid:x
107:geteuid: 108:getegid: 109:setpgid:kk 110:getppid: 111:getpgrp: 112:setsid: 113:setreuid:xx
114:setregid:xx 115:getgroups:xx 116:setgroups:xx 117:setresuid:xxx 118:getresuid:xxx
119:setresgid:xxx 120:getresgid:xxx 121:getpgid:k 122:setfsuid:x 123:setfsgid:x 124:getsid:k
125:capget:bb 126:capset:bb 127:rt_sigpending:x 128:rt_sigtimedwait:bxbx 129:rt_sigqueueinfo:ksb
131:sigaltstack:xx 132:utime:pb 133:mknod:pix 134:uselib:x 135:personality:x 136:ustat:xx
137:statfs:px 138:fstatfs:fx 139:sysfs:xxx 140:getpriority:xx 141:setpriority:iki
142:sched_setparam:kb 143:sched_getparam:xx 144:sched_setscheduler:kib 145:sched_getscheduler:x
146:sched_get_priority_max:x 147:sched_get_priority_min:x 148:sched_rr_get_interval:xx
149:mlock:xx 150:munlock:xx 151:mlockall:x 152:munlockall: 153:vhangup: 154:modify_ldt:xxx
155:pivot_root:pp 156:_sysctl:x 157:prctl:xxxxx 158:arch_prctl:xx 159:adjtimex:x
160:setrlimit:xx 161:chroot:p 162:sync: 163:acct:x 164:settimeofday:bx 165:mount:pppxp
166:umount2:px 167:swapon:xx 168:swapoff:x 169:reboot:xxxx 170:sethostname:xx
171:setdomainname:xx 172:iopl:x 173:ioperm:xxx 174:create_module:px 175:init_module:xxx
176:delete_module:xx 177:get_kernel_syms:x 179:quotactl:xxxx 180:nfsservctl:xxx 186:gettid:
187:readahead:xxx 188:setxattr:ppxxx 189:lsetxattr:ppxxx 190:fsetxattr:fpxxx 191:getxattr:ppxx
192:lgetxattr:ppxx 193:fgetxattr:fpxx 194:listxattr:ppx 195:llistxattr:ppx 196:flistxattr:fpx
197:removexattr:pp 198:lremovexattr:pp 199:fremovexattr:fp 200:tkill:ks 201:time:x
202:futex:xixbxx 203:sched_setaffinity:kxb 204:sched_getaffinity:xxx 205:set_thread_area:x
206:io_setup:xx 207:io_destroy:x 208:io_getevents:xxxxb 209:io_submit:xxx 210:io_cancel:xxx
211:get_thread_area:x 212:lookup_dcookie:xxx 213:epoll_create:x 216:remap_file_pages:xxxxx
217:getdents64:fxx 218:set_tid_address:x 219:restart_syscall: 220:semtimedop:xxxx
221:fadvise64:fxxx 222:timer_create:xxx 223:timer_settime:xxbb 224:timer_gettime:xb
225:timer_getoverrun:x 226:timer_delete:x 227:clock_settime:xb 228:clock_gettime:xb
229:clock_getres:xb 230:clock_nanosleep:xxbb 232:epoll_wait:fbxx 233:epoll_ctl:fifb
234:tgkill:kks 235:utimes:pb 237:mbind:xxxxxx 238:set_mempolicy:xxx 239:get_mempolicy:xxxxx
240:mq_open:xxxx 241:mq_unlink:x 242:mq_timedsend:xxxxx 243:mq_timedreceive:xxxxx
244:mq_notify:xx 245:mq_getsetattr:xxx 246:kexec_load:xxxx 247:waitid:xxxxb 248:add_key:xxxxx
249:request_key:xxxx 250:keyctl:xxxxx 251:ioprio_set:xxx 252:ioprio_get:xx 253:inotify_init:
254:inotify_add_watch:xpx 255:inotify_rm_watch:xx 256:migrate_pages:kxbb 257:openat:fpii
258:mkdirat:fpx 259:mknodat:fpix 260:fchownat:fpxxx 261:futimesat:fpx 262:newfstatat:fpbx
263:unlinkat:fpx 264:renameat:fpxp 265:linkat:fpxpx 266:symlinkat:pfp 267:readlinkat:fpbx
268:fchmodat:fpi 269:faccessat:fpix 270:pselect6:xbbbbb 271:ppoll:bxbbx 272:unshare:i
273:set_robust_list:xx 274:get_robust_list:kbb 275:splice:fxfxxx 276:tee:ffxx
277:sync_file_range:fxxx 278:vmsplice:fxxx 279:move_pages:kxbbbi 280:utimensat:fpbx
281:epoll_pwait:fbxxbx 282:signalfd:xxx 283:timerfd_create:xx 284:eventfd:x 285:fallocate:fxxx
286:timerfd_settime:fxbb 287:timerfd_gettime:fb 288:accept4:fbxi 289:signalfd4:xxxx
290:eventfd2:xx 291:epoll_create1:x 292:dup3:ffx 293:pipe2:bx 294:inotify_init1:x
295:preadv:fvxx 296:pwritev:fvxx 297:rt_tgsigqueueinfo:kksb 298:perf_event_open:xxxxx
299:recvmmsg:fxxxx 300:fanotify_init:xx 301:fanotify_mark:xxxxx 302:prlimit64:kibb
303:name_to_handle_at:fxxxx 304:open_by_handle_at:fxx 305:clock_adjtime:xx 306:syncfs:f
307:sendmmsg:fxxx 308:setns:fx 309:getcpu:xxx 310:process_vm_readv:kvxvxi
311:process_vm_writev:kvxvxi 312:kcmp:kkixx 313:finit_module:xxx 314:sched_setattr:xxx
315:sched_getattr:xxx 316:renameat2:fpxpx 317:seccomp:xxx 318:getrandom:xxx 319:memfd_create:px
320:kexec_file_load:ffxxx 321:bpf:xxx 322:execveat:fpbbx 323:userfaultfd:x 324:membarrier:xx
325:mlock2:xxx 326:copy_file_range:fxfxxx 327:preadv2:fvxxx 328:pwritev2:fvxxx
329:pkey_mprotect:xxxx 330:pkey_alloc:xx 331:pkey_free:x 332:statx:fpxxx
333:io_pgetevents:xxxxbb 334:rseq:xxxx 424:pidfd_send_signal:fsxx 425:io_uring_setup:xx
426:io_uring_enter:fxxxbx 427:io_uring_register:fxxx 428:open_tree:fpx 429:move_mount:fpfpx
430:fsopen:px 431:fsconfig:fxxxx 432:fsmount:fxx 433:fspick:fpx 434:pidfd_open:ki 435:clone3:xx
436:close_range:ffi 437:openat2:fpbx 438:pidfd_getfd:ffi 439:faccessat2:fpix
440:process_madvise:fvxii 441:epoll_pwait2:fbxbb 442:mount_setattr:fpibx
444:landlock_create_ruleset:bxi 447:memfd_secret:i 448:process_mrelease:fi 449:futex_waitv:bxibi
451:cachestat:fbbi 452:fchmodat2:fpii 453:map_shadow_stack:xxi 457:statmount:bbxi
458:listmount:bbxi
`
