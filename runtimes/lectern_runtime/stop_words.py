"""Function words that carry no topic, by language: articles, pronouns, prepositions, conjunctions, auxiliaries.

`sparse.py` leaves them out of documents and questions alike. Rarity weighting would mute them anyway; leaving them
out keeps the index small. Elided forms such as the `l` of "l'eau" stand here because words end at an apostrophe.
"""

# ruff: noqa: RUF001 - Russian is written in Cyrillic letters, some of which look like Latin ones

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_WORDS = {
    "da": """
        af alle at da de dem den denne der deres det dette dig din disse du efter eller en end er et for fra ham han
        hans har havde hende hendes her hos hun hvad hvem hver hvis hvor i ikke ind jeg jer jeres kan kunne man med
        men mig min mod ned nogle nu når og også om op os over på samt selv sig sin skal skulle som så til ud under
        var ved vi vil ville vor vores være været
    """,
    "de": """
        aber als am an auch auf aus bei beim bin bis bist da damit das dass daß dein dem den denn der des dessen die
        dies diese diesem diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines er es euch euer
        für gegen hab habe haben hat hatte hatten hier hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins
        ist ja jede jedem jeden jeder jedes kann kannst kein keine können könnte man mein mich mir mit muss müssen
        nach nicht noch nun nur ob oder ohne sehr sein seine seinem seinen seiner seit sich sie sind so soll sollte
        sondern um und uns unser unter vom von vor war waren warum was wegen weil welche welchem welchen welcher
        welches wenn wer werde werden wie wieder wir wird wo wurde wurden während zu zum zur zwischen über
    """,
    "en": """
        a about above after again against all am an and any are aren as at be because been before being below between
        both but by can cannot could couldn d did didn do does doesn doing don down during each few for from further
        had hadn has hasn have haven having he her here hers herself him himself his how i if in into is isn it its
        itself just ll m me more most my myself no nor not now of off on once only or other our ours ourselves out
        over own re s same she should shouldn so some such t than that the their theirs them themselves then there
        these they this those through to too under until up us ve very was wasn we were weren what when where which
        while who whom why will with won would wouldn you your yours yourself yourselves
    """,
    "es": """
        a al algo algunos ante antes aquel aquella aunque cada como con contra cual cuando cuál cuándo cómo de del
        desde donde dos durante dónde e el ella ellas ellos en entre era eran eres es esa ese eso esta estaba estado
        estar este esto estos está están estás ha haber había han has hasta hay he la las le les lo los me mi mis muy
        más ni no nos nosotros o os otra otro para pero poco por porque que quien quién qué se sea ser si sido sin
        sobre son su sus sí también te tiene tienen toda todo todos tu tus tú u un una unas uno unos y ya yo él
    """,
    "fi": """
        ei eivät ela eli emme en ennen ette että hän häneen hänelle hänen häntä he heidän heille heitä itse ja jo joka
        jolla jonka jos josta jota jotka kanssa kautta ketä koska kuin kuka kun kuten me meidän meille meitä mihin
        mikä millä minkä minua minulla minulle minun minä missä mistä mitkä mitä mukaan mutta muut myös ne niiden
        niin niissä niistä niitä noin nuo nyt näiden näissä näitä nämä ole olemme olen olet olette oli olimme olin
        olivat ollut olla on ovat se sekä sen siihen siinä siis siitä sille sillä sinun sinä sitä te teidän tai taas
        tuo tämä tämän tässä tästä tätä vaan vai vaikka vain voi yli
    """,
    "fr": """
        a ai ainsi alors au aucun aussi autre aux avait avec avoir avons c car ce cela celle celles celui ces cet cette
        ceux chaque comme comment contre d dans de depuis des deux dont du elle elles en encore entre es est et eu eux
        fait faire furent fut ici il ils j je l la le les leur leurs lors lui là m ma mais me mes moi moins mon même n
        ne ni nos notre nous on ont ou où par parce pas peu peut plus pour pourquoi qu quand que quel quelle quelles
        quels qui quoi s sa sans se sera ses si sinon soit son sont sous sur t ta te tes toi ton tous tout toute toutes
        très tu un une vers voici vos votre vous y à été être
    """,
    "it": """
        a ad agli ai al alla alle allo anche ancora avere aveva c che chi ci come con contro cosa così cui d da dagli
        dai dal dalla dalle dallo degli dei del dell della delle dello dentro di dopo dove due e ed era erano essere
        fra gli ha hanno ho i il in io l la le lei li lo loro lui ma me mi mia mie miei mio molto ne negli nei nel
        nell nella nelle nello noi non nostra nostro o ogni per perché però più poi prima qual quale quali quando
        quanto quella quelle quelli quello questa queste questi questo qui se sei senza si sia siamo siete solo sono
        sopra sotto sta stata stato su sua sue sugli sui sul sulla sulle suo suoi te ti tra tu tua tuo tutti tutto un
        una uno v vi voi vostro è
    """,
    "nl": """
        aan achter af al alle alleen als altijd ander andere bij daar dan dat de der deze die dit doch doen door dus
        een en er ge geen geweest haar had hadden heb hebben heeft hem hen het hier hij hoe hun ik in is ja je jij
        jouw jullie kan kon kunnen maar me meer men met mij mijn moet na naar niet niets nog nu of om omdat ons onze
        ook op over reeds te tegen ten ter toch toen tot tussen u uit uw van vanaf veel voor waar waarom wanneer want
        waren was wat we welk welke werd werden wezen wie wij wil worden wordt zal ze zelf zich zij zijn zo zonder zou
    """,
    "no": """
        alle at av blant ble bli blir både da de deg dei deira dem den denne der dere deres det dette di din disse du
        eg ein eit eller en enn er et etter for fordi fra før ha hadde han hans har henne hennes her hos hun hva hvem
        hver hvilke hvilken hvis hvor hvordan hvorfor i ikke ikkje inn ja jeg kan kom kunne man med meg mellom men mer
        mi min mitt mot mye må nei noe noen nå når og også om opp oss over på sa samme seg selv si sin sine sitt skal
        skulle slik som så til uten ut var ved vi vil ville vår være vært å
    """,
    "pt": """
        a ao aos aquela aquele aquilo as até cada com como contra da das de dela dele deles depois do dos e ela elas
        ele eles em entre era eram essa esse esta estamos estar estas estava este estes está estão eu foi foram for
        fosse há isso isto já lhe lhes mais mas me mesmo meu meus minha muito na nas nem no nos nossa nosso num numa
        não nós o onde os ou outra outro para pela pelas pelo pelos por porque qual quais quando que quem se seja sem
        ser seu seus sido sobre sua suas são só também te tem tenho ter teu tinha toda todo todos tu tua têm um uma
        umas uns você vocês à às é
    """,
    "ru": """
        а без более больше бы был была были было быть в вам вас весь во вот все всего всех вы где да даже для до его
        ее ей если есть еще ещё её ж же за здесь и из или им их к как какая какой когда кого кто ли либо между меня
        мне может мой мы на над надо нас не него нее ней нет ни них но ну о об один он она они оно от очень по под
        после потому почему при про с сам свой себе себя со так также такой там тебя тем то тогда того тоже той только
        том тот ты у уже хотя чего чем что чтобы чья эта эти этим этих это этого этой этом этот эту я
    """,
    "sv": """
        alla allt att av bara blev bli blir både de dem den denna deras dess dessa det detta dig din ditt du där då
        efter ej eller en er era ert ett från för genom ha hade han hans har henne hennes hon honom hos hur här i icke
        in inom inte jag ju kan kunde man med mellan men mig min mina mitt mot mycket ni nu när någon något några och
        om oss på samma sedan sig sin sina sitt själv ska skall skulle som så sådan till under upp ut utan vad var
        vara varför varit varje vars vart vem vi vid vilka vilken vilket vår våra vårt än är åt över
    """,
}

STOP_WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {language: frozenset(words.casefold().split()) for language, words in _WORDS.items()}
)
"""Case-folded stop words by ISO 639-1 code."""
