using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Processor;

/// <summary>
/// Goal: checked mode knows which bytes of a value nobody has written, through everything that compilers do to values, and complains
/// only when one is acted upon. Method: fresh bytes at known places, an instruction sequence, and a jump on its result.
/// </summary>
public sealed class MemoryCheckTests : IDisposable
{
    readonly GuestProgram guest = new(isChecked: true);

    public void Dispose() => guest.Dispose();

    /// <summary>Makes bytes of the data area fresh, and runs code with rdx pointing there.</summary>
    unsafe IReadOnlyList<string> Run(int offset, int length, Action<Assembler> write)
    {
        GuestMemory.Write(guest.Data, 64).Clear();
        GuestMemory.Write(guest.Data + (ulong)offset, length).Fill(MemoryShadow.FreshFill);
        guest.Shadow!.Set(guest.Data, 64, ByteState.None);
        guest.Shadow.Set(guest.Data + (ulong)offset, (ulong)length, ByteState.Uninitialized);
        guest.Cpu->Rdx = guest.Data;
        guest.Misuses.Code = guest.Code;
        Assert.Equal(StopReason.Returned, guest.Run(write));
        return guest.Misuses.Found;
    }

    /// <summary>Ends with a jump on rax.</summary>
    static Action<Assembler> Deciding(Action<Assembler> write) => code =>
    {
        Label end = code.CreateLabel();
        write(code);
        code.test(rax, rax);
        code.je(end);
        code.nop();
        code.Label(ref end);
        code.ret();
    };

    public static TheoryData<string> Fresh => [.. Decisions.Where(d => d.IsFresh).Select(d => d.Name)];

    public static TheoryData<string> Written => [.. Decisions.Where(d => !d.IsFresh).Select(d => d.Name)];

    // Bytes 4 to 7 at rdx are fresh.
    static readonly (string Name, bool IsFresh, Action<Assembler> Code)[] Decisions =
    [
        ("load of a part", true, code => code.mov(rax, __[rdx])),
        ("load beside", false, code => code.mov(eax, __[rdx])),
        ("load of the upper part", true, code => code.mov(eax, __[rdx + 4])),
        ("zero extension", true, code => code.movzx(eax, __byte_ptr[rdx + 7])),
        ("shift to the written half", false, code => { code.mov(rax, __[rdx]); code.shl(rax, 32); }),
        ("shift to the fresh half", true, code => { code.mov(rax, __[rdx]); code.shr(rax, 40); }),
        ("truncation by a move", false, code => { code.mov(rax, __[rdx]); code.mov(eax, eax); }),
        ("truncation by a mask", false, code => { code.mov(rax, __[rdx]); code.and(rax, 0x7FFFFFFF); }),
        ("exclusive or with itself", false, code => { code.mov(rax, __[rdx]); code.xor(rax, rax); }),
        ("difference with itself", false, code => { code.mov(rax, __[rdx]); code.sub(rax, rax); }),
        ("sum", true, code => { code.mov(eax, 1); code.add(eax, __[rdx + 4]); }),
        ("carry into bytes above", true, code => { code.mov(rax, __[rdx + 1]); code.add(rax, 1); code.shr(rax, 56); }),
        ("product", true, code => { code.imul(eax, __dword_ptr[rdx + 4], 3); }),
        ("copy through memory", true, code => { code.mov(rcx, __[rdx]); code.mov(__[rdx + 16], rcx); code.mov(eax, __[rdx + 20]); }),
        ("copy through the stack", true, code => { code.push(__qword_ptr[rdx]); code.pop(rax); }),
        ("copy through xmm", true, code => { code.movdqu(xmm1, __[rdx]); code.movdqu(__[rdx + 32], xmm1); code.mov(eax, __[rdx + 36]); }),
        ("beside the copy through xmm", false, code => { code.movdqu(xmm1, __[rdx]); code.movdqu(__[rdx + 32], xmm1); code.mov(eax, __[rdx + 32]); }),
        ("copy by a string instruction", true, code =>
        {
            code.mov(rsi, rdx);
            code.lea(rdi, __[rdx + 24]);
            code.mov(ecx, 1);
            code.rep.movsq();
            code.mov(eax, __[rdx + 28]);
        }),
        ("written over", false, code => { code.mov(__dword_ptr[rdx + 4], 5); code.mov(rax, __[rdx]); }),
        ("written over partly", true, code => { code.mov(__word_ptr[rdx + 4], 5); code.mov(rax, __[rdx]); }),
        ("filled by a string instruction", false, code => { code.mov(rdi, rdx); code.mov(ecx, 2); code.rep.stosd(); code.mov(rax, __[rdx]); }),
        ("set by bits", false, code => { code.or(__byte_ptr[rdx + 4], 2); code.movzx(eax, __byte_ptr[rdx + 4]); }),
        ("exchange", true, code => { code.xor(eax, eax); code.xchg(__[rdx + 4], eax); }),
        ("byte order", true, code => { code.mov(rax, __[rdx]); code.bswap(rax); code.mov(eax, eax); }),
        ("condition taken", true, code => { code.cmp(__dword_ptr[rdx + 4], 3); code.sete(al); code.movzx(eax, al); }),
        ("condition of what is written", false, code => { code.cmp(__dword_ptr[rdx], 3); code.sete(al); code.movzx(eax, al); }),
        ("conditional move", true, code => { code.xor(eax, eax); code.cmp(eax, 0); code.cmove(eax, __[rdx + 4]); }),
        ("room on the stack", true, code => { code.sub(rsp, 0x40); code.mov(rax, __[rsp + 0x20]); code.add(rsp, 0x40); }),
        ("variable on the stack", false, code => { code.sub(rsp, 0x40); code.mov(__[rsp + 0x20], rdx); code.mov(rax, __[rsp + 0x20]); code.add(rsp, 0x40); }),
    ];

    [Theory, MemberData(nameof(Fresh))]
    public void Acting_upon_what_nobody_has_written_is_found(string name) =>
        Assert.Contains("unwritten Condition", Assert.Single(Run(4, 4, Deciding(Decisions.Single(d => d.Name == name).Code))), StringComparison.Ordinal);

    [Theory, MemberData(nameof(Written))]
    public void Acting_upon_what_was_written_is_not(string name) =>
        Assert.Empty(Run(4, 4, Deciding(Decisions.Single(d => d.Name == name).Code)));

    [Fact]
    public void A_byte_that_does_not_hold_the_pattern_was_written_by_the_kernel()
    {
        GuestMemory.Ref<uint>(guest.Data + 0x100) = 0;
        guest.Shadow!.Set(guest.Data + 0x100, 4, ByteState.Uninitialized);

        Assert.Empty(Run(4, 4, Deciding(code => code.mov(eax, __[rdx + 0x100]))));
    }

    [Fact]
    public void An_address_that_nobody_has_written_is_found() =>
        Assert.StartsWith("unwritten Address", Assert.Single(Run(4, 1, code =>
        {
            code.movzx(eax, __byte_ptr[rdx + 4]);
            code.mov(eax, __[rdx + rax]);
            code.ret();
        })), StringComparison.Ordinal);

    [Fact]
    public void Bytes_that_belong_to_no_block_may_neither_be_read_nor_written()
    {
        guest.Shadow!.Set(guest.Data + 0x200, 16, ByteState.Outside);
        guest.Shadow.Set(guest.Data + 0x300, 16, ByteState.Freed);

        IReadOnlyList<string> found = Run(0, 1, code =>
        {
            code.mov(rax, __[rdx + 0x1F8]);
            code.mov(rax, __[rdx + 0x1F9]);
            code.mov(__[rdx + 0x300], al);
            code.movups(xmm0, __[rdx + 0x2F8]);
            code.ret();
        });

        Assert.Equal(["read", "write", "read"], found.Select(f => f.Split(' ')[0]));
    }
}
