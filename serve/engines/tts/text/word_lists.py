"""Word lists of the text rules, as one frozen set each."""

from __future__ import annotations


def words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Words people write in capitals to stress them; other capitals are spelled out or read as names.
STRESSED = words("""
    all always am an and any are at be been best big but by can come could day did do does done dont don't down each
    even ever every few first for from get give go going gone good got great had has have he hell help her here him his
    how if in into is isn't it its just know last let like little long look love made make many may me mean more most
    much must my need never new next no not nothing now of off old on once one only or our out over own please put
    really right said same say see she should so some stop such take tell than thank that the their them then there
    these they thing think this those time to too two under up upon use very wait want was way we well went were what
    when where which while who whole why will with without won't wrong yes yet you your
    bye ha hey hi huh nope oh ow ugh wow yay yep
""")

# Words whose doubled letter stays when a drawn-out spelling is undone.
DOUBLED = words("""
    aww ahh all been book boo boss brr cool feel food free funny good grr happy hell hello hmm keep look mm miss moo need
    off ooh pretty room see shh soon sorry tell too wee week well yee yell
""")

# Abbreviations after which a sentence continues, and those that may also end one.
NEVER_LAST = words("""
    mr mrs ms dr prof rev hon capt col gen lt sgt maj cmdr sen rep gov pres st mt ft jr sr messrs e.g i.e cf vs viz
    approx dept est fig figs no nos vol p pp ch sec art ed eds al resp incl
""")
SELDOM_LAST = words("""
    etc inc ltd co corp bros a.m p.m u.s u.k u.s.a u.n jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed
    thu thur thurs fri sat sun ave blvd rd ph.d b.a m.a oz lb lbs kg km cm mm ml hr hrs min mins
""")

# Acronyms that are pronounced as words; other short words in capitals are spelled out.
SAID_AS_WORDS = words("""
    NASA NATO UNESCO UNICEF OPEC AIDS ASAP RAM ROM SIM PIN LASER RADAR SCUBA GIF NASDAQ FIFA UEFA SAT CAPTCHA COVID
    OK SWAT YOLO LOL NAFTA ASEAN PETA CAD BASIC COBOL NIMBY OSHA FEMA WASP DOS LAN WAN VAT ZIP
""")

# Initials that could be pronounced as a word and are spelled out.
SPELLED_OUT = words("USAF UCLA AARP IIRC IUPAC ECG EEG ICU IUD EU UFO USSR HIV")
